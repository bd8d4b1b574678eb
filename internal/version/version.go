// Package version holds the one version number both programs print.
package version

// Version is the release this source tree leads to.
const Version = "0.1.0"
