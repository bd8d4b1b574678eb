package datatest

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"steve/internal/ctl"
	"steve/internal/pool"
	"steve/internal/testkit/need"
)

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestManPagesLint(t *testing.T) {
	mandoc := need.Tool(t, "mandoc")
	for _, page := range []string{"steve.8", "stevie.1"} {
		t.Run(page, func(t *testing.T) {
			out, err := exec.Command(mandoc, "-T", "lint", "-W", "warning", filepath.Join(root, "docs/man", page)).CombinedOutput()
			if err != nil || len(out) > 0 {
				t.Errorf("mandoc -T lint: %v\n%s", err, out)
			}
		})
	}
}

// TestManPagesOptions has every option that --help shows in the manual, and for the daemon the other way round.
func TestManPagesOptions(t *testing.T) {
	mandoc := need.Tool(t, "mandoc")
	dir := install(t)
	long := regexp.MustCompile(`--[a-z][a-z-]*[a-z]`)
	overstrike := regexp.MustCompile(`.\x08`)
	for _, tt := range []struct {
		program, page string
		both          bool
	}{{"steve", "steve.8", true}, {"stevie", "stevie.1", false}} {
		t.Run(tt.page, func(t *testing.T) {
			help, err := exec.Command(filepath.Join(dir, "usr/bin", tt.program), "--help").Output()
			if err != nil {
				t.Fatalf("--help: %v", err)
			}
			page, err := exec.Command(mandoc, "-T", "ascii", "-O", "width=1000", filepath.Join(root, "docs/man", tt.page)).Output()
			if err != nil {
				t.Fatalf("mandoc: %v", err)
			}
			inHelp := optionSet(long.FindAllString(string(help), -1))
			inPage := optionSet(long.FindAllString(overstrike.ReplaceAllString(string(page), ""), -1))
			delete(inPage, "--jobserver-auth") // make's
			delete(inPage, "--device")         // stevie's, in an example
			if len(inHelp) == 0 {
				t.Fatalf("--help shows no option:\n%s", help)
			}
			for o := range inHelp {
				if !inPage[o] && o != "--jobserver-auth" && o != "--device" {
					t.Errorf("%s is in --help and not in %s", o, tt.page)
				}
			}
			for o := range inPage {
				if tt.both && !inHelp[o] {
					t.Errorf("%s is in %s and not in --help", o, tt.page)
				}
			}
		})
	}
}

func optionSet(list []string) map[string]bool {
	set := map[string]bool{}
	for _, o := range list {
		set[o] = true
	}
	return set
}

// TestDocumentedBounds keeps the numbers in prose those of the source.
func TestDocumentedBounds(t *testing.T) {
	for path, texts := range map[string][]string{
		"docs/man/steve.8": {
			fmt.Sprintf("1 to %d", pool.MaxJobs),
			fmt.Sprintf("0 to %d", pool.MaxJobs),
			fmt.Sprintf("%v to %v", pool.MinRecheckTimeout.Seconds(), pool.MaxRecheckTimeout.Seconds()),
			fmt.Sprintf("the default is %v", pool.DefaultLimits(1).RecheckTimeout.Seconds()),
			fmt.Sprintf("the default is %d", pool.DefaultLimits(1).MinJobs),
		},
		"docs/PROTOCOL.md": {
			fmt.Sprintf("| 0 | i64 | jobs | 1 to %d |", pool.MaxJobs),
			fmt.Sprintf("| 8 | i64 | min-jobs | 0 to %d;", pool.MaxJobs),
			fmt.Sprintf("%d ms to %v h", pool.MinRecheckTimeout.Milliseconds(), pool.MaxRecheckTimeout.Hours()),
			fmt.Sprintf("| 40 | i64 | per-process limit | 0 to %d;", pool.MaxJobs),
			fmt.Sprintf("| 0 | u64 | tokens it would take that nobody else waits for, 0 to %d |", pool.MaxJobs),
		},
	} {
		doc := strings.Join(strings.Fields(read(t, path)), " ")
		for _, text := range texts {
			if !strings.Contains(doc, text) {
				t.Errorf("%s does not say %q", path, text)
			}
		}
	}
}

// TestProtocolRecords builds records as docs/PROTOCOL.md describes them and has package ctl read them.
func TestProtocolRecords(t *testing.T) {
	doc := read(t, "docs/PROTOCOL.md")
	for _, row := range []string{
		fmt.Sprintf("| `VERSION` | `%#x` | read, %d |", uint32(ctl.CmdVersion), ctl.VersionSize),
		fmt.Sprintf("| `STATUS` | `%#x` | read, %d |", uint32(ctl.CmdStatus), ctl.StatusSize),
		fmt.Sprintf("| `SET` | `%#x` | write, %d |", uint32(ctl.CmdSet), ctl.SettingsSize),
		fmt.Sprintf("| `REPORT` | `%#x` | both, %d |", uint32(ctl.CmdReport), ctl.ReportSize),
		fmt.Sprintf("| `NEST` | `%#x` | both, %d |", uint32(ctl.CmdNest), ctl.NestSize),
		fmt.Sprintf("| `RELAY` | `%#x` | both, %d |", uint32(ctl.CmdRelay), ctl.RelaySize),
		fmt.Sprintf("| `SERVER` | `%#x` | read, %d |", uint32(ctl.CmdServer), ctl.AboutSize),
		fmt.Sprintf("| 4 | u32 | version of this protocol, %d |", ctl.Version),
	} {
		if !strings.Contains(doc, row) {
			t.Errorf("docs/PROTOCOL.md has no row %s", row)
		}
	}

	le := func(v uint64, n int) (b []byte) {
		for ; n > 0; n-- {
			b, v = append(b, byte(v)), v>>8
		}
		return b
	}
	var settings []byte
	for _, v := range []uint64{12, 2, math.Float64bits(1.5), 500_000_000, 4096, 3} {
		settings = append(settings, le(v, 8)...)
	}
	limits := pool.Limits{Jobs: 12, MinJobs: 2, LoadAverage: 1.5, RecheckTimeout: 500_000_000, MinMemory: 4096, PerProcess: 3}

	if v, err := ctl.ParseVersion(append([]byte("stev"), le(1, 4)...)); err != nil || v != 1 {
		t.Errorf("VERSION reads as %d, %v", v, err)
	}
	status := append([]byte{}, settings...)
	for _, v := range []uint64{5, 7, 3, 2} {
		status = append(status, le(v, 8)...)
	}
	want := ctl.Status{Limits: limits, Free: 5, Held: 7, Holders: 3, Waiters: 2}
	if got, err := ctl.ParseStatus(status); err != nil || got != want {
		t.Errorf("STATUS reads as %+v, %v; want %+v", got, err, want)
	}
	about := append(le(71, 4), le(72, 4)...)
	for _, v := range []uint64{123456, 2, 9, 0} {
		about = append(about, le(v, 8)...)
	}
	if got, err := ctl.ParseAbout(about); err != nil || got != (ctl.About{Keeper: 71, Worker: 72, Started: 123456, Takeovers: 2, Forgiven: 9}) {
		t.Errorf("SERVER reads as %+v, %v", got, err)
	}
	for bit, field := range []pool.Field{pool.FieldJobs, pool.FieldMinJobs, pool.FieldLoadAverage,
		pool.FieldRecheckTimeout, pool.FieldMinMemory, pool.FieldPerProcess} {
		set := append(append(le(1<<bit, 4), le(0, 4)...), settings...)
		if mask, got, err := ctl.ParseSettings(set); err != nil || mask != field || got != limits {
			t.Errorf("SET with bit %d reads as %v %+v, %v", 1<<bit, mask, got, err)
		}
	}
	for _, bad := range [][]byte{append(le(64, 8), settings...), append(le(1<<32, 8), settings...)} {
		if _, _, err := ctl.ParseSettings(bad); err == nil {
			t.Errorf("SET that begins with % x is taken", bad[:8])
		}
	}
	for i, want := range []uint32{0: ctl.NestLeave, 1: ctl.NestEnter} {
		if got, err := ctl.ParseNest(le(uint64(i), 8)); err != nil || got != want {
			t.Errorf("NEST asked with %d reads as %v, %v", i, got, err)
		}
	}
	for i, want := range []uint32{0: ctl.NestLeft, 1: ctl.NestTaken, 2: ctl.NestShared} {
		if got, err := ctl.ParseNest(le(uint64(i), 8)); err != nil || got != want {
			t.Errorf("NEST answered with %d reads as %v, %v", i, got, err)
		}
	}
	relay := func(n, flags uint64) []byte { return append(append(le(n, 8), le(flags, 4)...), le(0, 4)...) }
	for flag, want := range map[uint64]ctl.RelayAsk{1: {Want: 3, Wait: true}, 2: {Want: 3, Idle: true}, 4: {Want: 3, Less: true}, 16: {Want: 3, Now: true}} {
		if got, err := ctl.ParseRelayAsk(relay(3, flag)); err != nil || got != want {
			t.Errorf("RELAY asked with %d reads as %+v, %v", flag, got, err)
		}
	}
	for flag, want := range map[uint64]ctl.RelayAnswer{8: {Tokens: 3, Wanted: true}, 4: {Tokens: 3, Less: true}} {
		if got, err := ctl.ParseRelayAnswer(relay(3, flag)); err != nil || got != want {
			t.Errorf("RELAY answered with %d reads as %+v, %v", flag, got, err)
		}
	}
}

var markdown = []string{"README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/PROTOCOL.md"}

// TestMarkdownShell checks the syntax of every shell block.
func TestMarkdownShell(t *testing.T) {
	block := regexp.MustCompile("(?ms)^```sh\n(.*?)^```$")
	for _, path := range markdown {
		for _, m := range block.FindAllStringSubmatch(read(t, path), -1) {
			cmd := exec.Command("sh", "-n")
			cmd.Stdin = strings.NewReader(m[1])
			if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
				t.Errorf("%s: sh -n: %v\n%s%s", path, err, out, m[1])
			}
		}
	}
}

// TestMarkdownLinks checks that every relative link leads to a file.
func TestMarkdownLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)]+)\)`)
	for _, path := range markdown {
		for _, m := range link.FindAllStringSubmatch(read(t, path), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			target, _, _ := strings.Cut(m[1], "#")
			if _, err := os.Stat(filepath.Join(root, filepath.Dir(path), target)); err != nil {
				t.Errorf("%s links to %s: %v", path, m[1], err)
			}
		}
	}
}
