// Package systemd tests steve.service as it is installed, with a real systemd in a guest: what a restart, a crash, an
// upgrade and a stop are for the builds that run meanwhile. What a unit may say is tested in package datatest.
package systemd
