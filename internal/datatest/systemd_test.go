package datatest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"steve/internal/testkit/need"
)

var units = []string{"steve.service", "steve-fuse.service"}

// TestUnitsVerify installs for good, below a prefix of its own, so that the programs the units name are there.
func TestUnitsVerify(t *testing.T) {
	analyze := need.Tool(t, "systemd-analyze")
	install(t)
	prefix := t.TempDir()
	if err := makeTarget("install", "PREFIX="+prefix, "SYSCONFDIR="+prefix+"/etc"); err != nil {
		t.Fatal(err)
	}
	for _, unit := range units {
		t.Run(unit, func(t *testing.T) {
			out, err := exec.Command(analyze, "verify", "--man=no", filepath.Join(prefix, "lib/systemd/system", unit)).CombinedOutput()
			if err != nil || len(out) > 0 {
				t.Errorf("systemd-analyze verify: %v\n%s", err, out)
			}
		})
	}
}

func TestUnitsSecurity(t *testing.T) {
	analyze := need.Tool(t, "systemd-analyze")
	dir := install(t)
	// The threshold is ten times the exposure level. The FUSE unit may not have a mount namespace, see below.
	for unit, threshold := range map[string]int{"steve.service": 15, "steve-fuse.service": 45} {
		t.Run(unit, func(t *testing.T) {
			out, err := exec.Command(analyze, "security", "--offline=true", "--no-pager", fmt.Sprintf("--threshold=%d", threshold),
				filepath.Join(dir, "usr/lib/systemd/system", unit)).CombinedOutput()
			if err != nil {
				t.Errorf("systemd-analyze security: %v\n%s", err, out)
			}
		})
	}
}

// settings are the lines KEY=VALUE of a unit, comments left out.
func settings(t *testing.T, path string) map[string][]string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	set := map[string][]string{}
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		if key, value, ok := strings.Cut(line, "="); ok && line[0] != '#' {
			set[key] = append(set[key], value)
		}
	}
	return set
}

// With any of these systemd gives the service a mount namespace, in this version or another, alone or together with a
// further setting (exec_needs_mount_namespace in its src/core/execute.c). A mount made in there is seen by nobody else.
var namespacing = []string{
	"RootDirectory", "RootImage", "RootEphemeral", "MountAPIVFS", "MountImages", "ExtensionImages", "ExtensionDirectories",
	"ReadWritePaths", "ReadOnlyPaths", "InaccessiblePaths", "ExecPaths", "NoExecPaths", "BindPaths", "BindReadOnlyPaths",
	"TemporaryFileSystem", "MountFlags", "PrivateMounts", "PrivateTmp", "PrivateDevices", "PrivateNetwork",
	"NetworkNamespacePath", "PrivateIPC", "IPCNamespacePath", "PrivatePIDs", "PrivateBPF", "PrivateUsers",
	"ProtectSystem", "ProtectHome", "ProtectKernelTunables", "ProtectKernelModules", "ProtectKernelLogs",
	"ProtectControlGroups", "ProtectProc", "ProcSubset", "DynamicUser", "LogNamespace", "BindLogSockets",
	"LoadCredential", "SetCredential", "ImportCredential",
}

func TestFuseUnitSharesTheMount(t *testing.T) {
	set := settings(t, filepath.Join(root, "data/steve-fuse.service"))
	for _, key := range namespacing {
		if v, ok := set[key]; ok {
			t.Errorf("%s=%s gives the service a mount namespace: the FUSE mount would be seen by nobody", key, v)
		}
	}
	if v, ok := set["User"]; ok {
		t.Errorf("User=%s: mounting on /dev/steve needs root", v)
	}
}

// These would hide from steve what it serves or whom.
func TestCuseUnitSeesItsClients(t *testing.T) {
	set := settings(t, filepath.Join(root, "data/steve.service"))
	for _, key := range []string{"PrivateDevices", "PrivateUsers", "PrivatePIDs", "ProtectProc", "ProcSubset", "DynamicUser"} {
		if v, ok := set[key]; ok {
			t.Errorf("%s=%s must not be set", key, v)
		}
	}
	if got := fmt.Sprint(set["User"], set["Group"]); got != "[steve] [steve]" {
		t.Errorf("user and group are %s", got)
	}
}

// accounts runs systemd-sysusers on an empty root and returns its /etc.
func accounts(t *testing.T) string {
	t.Helper()
	sysusers := need.Tool(t, "systemd-sysusers")
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	// A relative name it would look for in sysusers.d.
	conf, err := filepath.Abs(filepath.Join(root, "data/sysusers.conf"))
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(sysusers, "--root="+dir, conf).CombinedOutput()
	if err != nil {
		t.Fatalf("systemd-sysusers: %v\n%s", err, out)
	}
	return filepath.Join(dir, "etc")
}

func TestSysusers(t *testing.T) {
	etc := accounts(t)
	for file, want := range map[string][]string{
		"passwd": {"steve:x:ID:ID:Jobserver daemon:/:/usr/sbin/nologin"},
		// Nobody is a member of either: the daemon has no business in the group of those who build.
		"group": {"jobserver:x:ID:", "steve:x:ID:"},
	} {
		b, err := os.ReadFile(filepath.Join(etc, file))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for line := range strings.Lines(string(b)) {
			fields := strings.Split(strings.TrimSuffix(line, "\n"), ":")
			for i := 2; i < len(fields); i++ {
				if fields[i] != "" && strings.Trim(fields[i], "0123456789") == "" {
					fields[i] = "ID"
				}
			}
			got = append(got, strings.Join(fields, ":"))
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s is %q, want %q", file, got, want)
		}
	}
}

// TestIntegrationUdevRules has udev read the rules, in a mount namespace where they are installed and where the
// accounts are those that sysusers.conf makes. udevadm test tells of every line it cannot use.
func TestIntegrationUdevRules(t *testing.T) {
	need.Root(t)
	need.Tool(t, "udevadm")
	etc := accounts(t)
	const script = `set -e
mount -t tmpfs tmpfs /run
mkdir -p /run/udev/rules.d
cp "$1" /run/udev/rules.d/60-steve.rules
mount --bind "$2/passwd" /etc/passwd
mount --bind "$2/group" /etc/group
exec udevadm test --resolve-names=early /sys/class/mem/null 2>&1`
	for _, tt := range []struct {
		name, rules string
		ok          bool
	}{
		{"ours", "", true},
		{"unknown key", `SUBSYSTEM=="cuse", KERNL=="steve", GROUP="jobserver"`, false},
		{"unknown group", `SUBSYSTEM=="cuse", KERNEL=="steve", GROUP="no-such-group"`, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(root, "data/steve.udev")
			if !tt.ok {
				path = filepath.Join(t.TempDir(), "rules")
				if err := os.WriteFile(path, []byte(tt.rules+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.Command("sh", "-c", script, "sh", path, etc)
			// The propagation of all mounts is made private before the script runs: nothing gets out.
			cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("udevadm test: %v\n%s", err, out)
			}
			read, complaints := false, ""
			for line := range strings.Lines(string(out)) {
				switch {
				case strings.Contains(line, "60-steve.rules:"):
					complaints += line
				case strings.Contains(line, "60-steve.rules"):
					read = true
				}
			}
			if !read {
				t.Fatalf("udev did not read the rules:\n%s", out)
			}
			if (complaints == "") != tt.ok {
				t.Errorf("udev's complaints: %q", complaints)
			}
		})
	}
}

// What udev cannot tell: who may open which node.
func TestUdevRulesAccess(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(root, "data/steve.udev"))
	if err != nil {
		t.Fatal(err)
	}
	for _, rule := range []string{
		`SUBSYSTEM=="misc", KERNEL=="cuse", OWNER="steve", MODE="0600"`,
		`SUBSYSTEM=="cuse", KERNEL=="steve", GROUP="jobserver", MODE="0660"`,
	} {
		if !strings.Contains(string(b), "\n"+rule) {
			t.Errorf("no rule %s", rule)
		}
	}
}
