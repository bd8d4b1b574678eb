// Package matrix tries every jobserver client there is on every kind of jobserver that stevie gives it, counts how many jobs
// it runs at one time, and ends it in every way: the table in README comes from here.
//
// It has tests only. "make test" runs some of the rows, "make matrix" all of them. What clients make of a token file that
// they get without stevie is in package builds.
package matrix
