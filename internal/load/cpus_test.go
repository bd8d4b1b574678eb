package load

import (
	"runtime"
	"testing"
	"testing/fstest"
)

func TestCPUs(t *testing.T) {
	const (
		v2   = "31 23 0:28 / /sys/fs/cgroup rw,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
		v1   = "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
		unit = "sys/fs/cgroup/build.slice/steve.service/"
	)
	type files map[string]string
	tests := []struct {
		name            string
		affinity        int
		files           files
		usable, machine int
	}{
		{"no cgroups", 4, files{}, 4, 4},
		{"affinity below the machine's", 3, files{"sys/devices/system/cpu/online": "0-7\n"}, 3, 8},
		{"offline ones", 6, files{"sys/devices/system/cpu/online": "0-3,6,8-9\n"}, 6, 7},
		{"malformed list", 6, files{"sys/devices/system/cpu/online": "0-3,x\n"}, 6, 6},

		{"v2 no limit", 8, files{"proc/self/mountinfo": v2, "proc/self/cgroup": "0::/build.slice/steve.service\n",
			unit + "cpu.max": "max 100000\n"}, 8, 8},
		{"v2 own limit", 8, files{"proc/self/mountinfo": v2, "proc/self/cgroup": "0::/build.slice/steve.service\n",
			unit + "cpu.max": "400000 100000\n"}, 4, 8},
		{"v2 rounded up", 8, files{"proc/self/mountinfo": v2, "proc/self/cgroup": "0::/build.slice/steve.service\n",
			unit + "cpu.max": "250001 100000\n"}, 3, 8},
		{"v2 less than one", 8, files{"proc/self/mountinfo": v2, "proc/self/cgroup": "0::/build.slice/steve.service\n",
			unit + "cpu.max": "1000 100000\n"}, 1, 8},
		{"v2 more than affinity", 2, files{"proc/self/mountinfo": v2, "proc/self/cgroup": "0::/build.slice/steve.service\n",
			unit + "cpu.max": "400000 100000\n"}, 2, 2},
		{"v2 tighter above", 8, files{"proc/self/mountinfo": v2, "proc/self/cgroup": "0::/build.slice/steve.service\n",
			unit + "cpu.max":                        "600000 100000\n",
			"sys/fs/cgroup/build.slice/cpu.max":     "300000 100000\n",
			"sys/fs/cgroup/build.slice/x/cpu.max":   "100000 100000\n",
			"sys/fs/cgroup/another.slice/cpu.max":   "100000 100000\n",
			"sys/fs/cgroup/build.slice/cpu.weight":  "100\n",
			"sys/fs/cgroup/build.slice/cpu.max.not": "100000 100000\n"}, 3, 8},
		{"v2 tighter at the mount", 8, files{"proc/self/mountinfo": v2, "proc/self/cgroup": "0::/a/b\n",
			"sys/fs/cgroup/a/b/cpu.max": "600000 100000\n",
			"sys/fs/cgroup/cpu.max":     "200000 100000\n"}, 2, 8},
		{"v2 cgroup namespace", 8, files{"proc/self/mountinfo": v2, "proc/self/cgroup": "0::/\n",
			"sys/fs/cgroup/cpu.max": "150000 50000\n"}, 3, 8},
		{"v2 outside of the namespace", 8, files{"proc/self/mountinfo": v2, "proc/self/cgroup": "0::/../other\n",
			"sys/fs/cgroup/cpu.max": "200000 100000\n"}, 2, 8},
		{"v2 malformed", 8, files{"proc/self/mountinfo": v2 + "\nx - cgroup2\n - cgroup2 a b\n", "proc/self/cgroup": "0::/a\nx\n",
			"sys/fs/cgroup/a/cpu.max": "many 100000\n", "sys/fs/cgroup/cpu.max": "100000 0\n"}, 8, 8},
		{"v2 blank in the mount point", 8, files{
			"proc/self/mountinfo": `31 23 0:28 / /my\040groups rw - cgroup2 cgroup2 rw` + "\n", "proc/self/cgroup": "0::/a\n",
			"my groups/a/cpu.max": "200000 100000\n"}, 2, 8},

		{"v1 no limit", 8, files{"proc/self/mountinfo": v1, "proc/self/cgroup": "4:cpu,cpuacct:/a\n",
			"sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us":  "-1\n",
			"sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us": "100000\n"}, 8, 8},
		{"v1 own limit", 8, files{"proc/self/mountinfo": v1, "proc/self/cgroup": "5:cpuset:/x\n4:cpu,cpuacct:/a\n",
			"sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us":  "420000\n",
			"sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us": "100000\n"}, 5, 8},
		{"v1 cpuset is not cpu", 8, files{
			"proc/self/mountinfo":                   "32 31 0:29 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n",
			"proc/self/cgroup":                      "5:cpuset:/\n",
			"sys/fs/cgroup/cpuset/cpu.cfs_quota_us": "100000\n", "sys/fs/cgroup/cpuset/cpu.cfs_period_us": "100000\n"}, 8, 8},
		{"v1 container that sees its own part", 8, files{
			"proc/self/mountinfo":                    "32 31 0:29 /docker/abc /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n",
			"proc/self/cgroup":                       "4:cpu:/docker/abc/sub\n",
			"sys/fs/cgroup/cpu/sub/cpu.cfs_quota_us": "300000\n", "sys/fs/cgroup/cpu/sub/cpu.cfs_period_us": "100000\n",
			"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "200000\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"}, 2, 8},
		{"v1 name that only begins alike", 8, files{
			"proc/self/mountinfo":                  "32 31 0:29 /docker/abc /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n",
			"proc/self/cgroup":                     "4:cpu:/docker/abcd\n",
			"sys/fs/cgroup/cpu/d/cpu.cfs_quota_us": "100000\n", "sys/fs/cgroup/cpu/d/cpu.cfs_period_us": "100000\n",
			"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "200000\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"}, 2, 8},
		{"both, tightest counts", 8, files{"proc/self/mountinfo": v1 + v2, "proc/self/cgroup": "4:cpu,cpuacct:/a\n0::/b\n",
			"sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us":  "300000\n",
			"sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us": "100000\n",
			"sys/fs/cgroup/b/cpu.max":                       "500000 100000\n"}, 3, 8},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := fstest.MapFS{}
			for name, data := range tt.files {
				root[name] = &fstest.MapFile{Data: []byte(data)}
			}
			usable, machine := cpus(root, tt.affinity)
			if usable != tt.usable || machine != tt.machine {
				t.Errorf("usable %d of %d, want %d of %d", usable, machine, tt.usable, tt.machine)
			}
		})
	}
}

func TestCPUsOfThisMachine(t *testing.T) {
	usable, machine := CPUs()
	if usable < 1 || usable > runtime.NumCPU() || machine < runtime.NumCPU() {
		t.Errorf("usable %d of %d, while affinity allows %d", usable, machine, runtime.NumCPU())
	}
}
