package keeper

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestParseRole(t *testing.T) {
	for _, tt := range []struct {
		line string
		want Role
	}{
		{"", Role{Args: []string{}}},
		{"--jobs 4 keep", Role{Args: []string{"--jobs", "4", "keep"}}},
		{"serve-for-keeper link=3,device=4,fresh --jobs 4",
			Role{Verb: Worker, link: 3, FDs: []FD{{"device", 4}}, Fresh: true, Args: []string{"--jobs", "4"}}},
		{"keep device=4,journal=12", Role{Verb: Keeper, FDs: []FD{{"device", 4}, {"journal", 12}}, Args: []string{}}},
		{"keep link=9,worker=4711,device=4 keep x",
			Role{Verb: Keeper, link: 9, worker: 4711, FDs: []FD{{"device", 4}}, Args: []string{"keep", "x"}}},
	} {
		got, err := parseRole(strings.Fields(tt.line))
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%q is %+v, %v, want %+v", tt.line, got, err, tt.want)
		}
		if tt.want.Verb == Main {
			continue
		}
		if back := strings.Join(got.argv()[1:], " "); back != tt.line {
			t.Errorf("%q comes back as %q", tt.line, back)
		}
	}
}

func TestParseRoleRefuses(t *testing.T) {
	for _, line := range []string{
		"keep",
		"serve-for-keeper",
		"keep link=3",                      // whose?
		"keep worker=4711,device=4",        // no link to it
		"keep device=4,fresh",              // a keeper starts nothing
		"serve-for-keeper device=4",        // no link
		"serve-for-keeper link=3",          // nothing to serve
		"serve-for-keeper link=3,worker=9", // that is the keeper's to say
		"keep device",
		"keep device=",
		"keep device=4,",
		"keep device=2", // standard error
		"keep device=-4",
		"keep device=+4",
		"keep device=4x",
		"keep device=99999999999999999999",
		"keep device=4,device=5",
		"keep =4",
		"keep Device=4",
		"keep de vice=4",
		"keep device=4;journal=5",
	} {
		if got, err := parseRole(strings.Fields(line)); err == nil {
			t.Errorf("%q is %+v, want an error", line, got)
		}
	}
}

func TestRoleOfTakesDescriptors(t *testing.T) {
	comm, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		t.Fatal(err)
	}
	defer os.WriteFile("/proc/self/comm", comm, 0)
	fd, err := unix.Dup(0)
	if err != nil {
		t.Fatal(err)
	}
	line := Role{Verb: Keeper, FDs: []FD{{"device", fd}}}.argv()[1:]
	role, err := RoleOf(line)
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := role.FD("device"); got != fd || !ok {
		t.Errorf("device is %d, %t, want %d", got, ok, fd)
	}
	if _, ok := role.FD("journal"); ok {
		t.Error("there is a journal")
	}
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("descriptor flags %#x, %v: a child would have it", flags, err)
	}
	if got, _ := os.ReadFile("/proc/self/comm"); string(got) != "steve\n" {
		t.Errorf("the process is called %q", got)
	}
	unix.Close(fd)
	if _, err := RoleOf(line); err == nil || !strings.Contains(err.Error(), "not open") {
		t.Errorf("a closed descriptor: %v", err)
	}
}
