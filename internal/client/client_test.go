package client

import (
	"slices"
	"testing"
)

func TestEnviron(t *testing.T) {
	for _, tt := range []struct{ env, want []string }{
		{
			env: []string{"HOME=/root"},
			want: []string{
				"HOME=/root",
				"MAKEFLAGS=--jobserver-auth=3,4",
				"CARGO_MAKEFLAGS=--jobserver-auth=fifo:/path",
			},
		},
		{
			// CARGO_MAKEFLAGS of an outer cargo would be looked at before MAKEFLAGS.
			env: []string{"MFLAGS=-kj8", "CARGO_MAKEFLAGS=-j --jobserver-fds=8,9", "MAKEFLAGS=kj8 -- X=1", "HOME=/root", "GNUMAKEFLAGS=-j"},
			want: []string{
				"HOME=/root",
				"MAKEFLAGS=-k --jobserver-auth=3,4 -- X=1",
				"CARGO_MAKEFLAGS=-k --jobserver-auth=fifo:/path -- X=1",
				"GNUMAKEFLAGS=",
				"MFLAGS=-k",
			},
		},
	} {
		before := slices.Clone(tt.env)
		if got := environ(tt.env, "3,4", "fifo:/path"); !slices.Equal(got, tt.want) {
			t.Errorf("environ(%q) = %q, want %q", tt.env, got, tt.want)
		}
		if !slices.Equal(tt.env, before) {
			t.Errorf("environ changed its argument to %q", tt.env)
		}
	}
}
