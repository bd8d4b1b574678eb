package datatest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"steve/internal/testkit/need"
)

func TestShellSyntax(t *testing.T) {
	for _, shell := range []string{"sh", "dash", "bash"} {
		for _, file := range []string{"steve.initd", "steve.confd", "sandbox.conf"} {
			t.Run(shell+"/"+file, func(t *testing.T) {
				out, err := exec.Command(need.Tool(t, shell), "-n", filepath.Join(root, "data", file)).CombinedOutput()
				if err != nil || len(out) > 0 {
					t.Errorf("%s -n: %v\n%s", shell, err, out)
				}
			})
		}
	}
}

// TestOpenRC reads conf.d and the script as openrc-run does, with openrc's own commands replaced by ones that print.
func TestOpenRC(t *testing.T) {
	dir := install(t)
	const script = `
RC_SVCNAME=steve
for f in need use after before checkpath modprobe; do eval "$f() { echo $f \"\$*\"; }"; done
. "$1/etc/conf.d/steve"
STEVE_OPTS=${2:-$STEVE_OPTS}
. "$1/etc/init.d/steve"
depend
start_pre
printf '%s\n' "$supervisor" "$pidfile" "$output_log" "$error_log" $command $command_args`
	for _, tt := range []struct{ opts, args string }{
		{"", "--user=steve"},
		{"--jobs=12 -m2", "--user=steve --jobs=12 -m2"},
	} {
		out, err := exec.Command("sh", "-euc", script, "sh", dir, tt.opts).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		want := "need localmount\nuse dev modules\nmodprobe -q cuse\n" +
			"checkpath --file --owner steve:steve --mode 0640 /var/log/steve.log\n" +
			"supervise-daemon\n/run/steve.pid\n/var/log/steve.log\n/var/log/steve.log\n/usr/bin/steve\n" +
			strings.ReplaceAll(tt.args, " ", "\n") + "\n"
		if string(out) != want {
			t.Errorf("options %q give\n%swant\n%s", tt.opts, out, want)
		}
	}
}

// systemd reads conf.d/steve as an EnvironmentFile=: assignments and comments, no shell.
func TestConfdIsNoShell(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(root, "data/steve.confd"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		if line != "" && line[0] != '#' && (!strings.HasPrefix(line, `STEVE_OPTS="`) || strings.ContainsAny(line, "$`\\")) {
			t.Errorf("not a plain assignment to STEVE_OPTS: %s", line)
		}
	}
}

func TestSandboxAndModules(t *testing.T) {
	out, err := exec.Command("sh", "-euc", `. "$1"; printf %s "$SANDBOX_WRITE"`, "sh", filepath.Join(root, "data/sandbox.conf")).CombinedOutput()
	if err != nil || string(out) != "/dev/steve" {
		t.Errorf("SANDBOX_WRITE is %q (%v), want /dev/steve", out, err)
	}
	b, err := os.ReadFile(filepath.Join(root, "data/modules-load.conf"))
	if err != nil {
		t.Fatal(err)
	}
	var modules []string
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			modules = append(modules, line)
		}
	}
	if len(modules) != 1 || modules[0] != "cuse" {
		t.Errorf("modules-load.conf loads %q, want cuse", modules)
	}
}
