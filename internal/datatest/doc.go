// Package datatest tests what is installed beside the programs (data/, install.mk) and the documents, each with the
// tool that will read it: systemd's, udev's, the shells, mandoc. It holds tests only.
package datatest
