package load

import (
	"io/fs"
	"os"
	"path"
	"runtime"
	"strconv"
	"strings"
)

// CPUs returns how many logical processors this process may use, at least 1, and how many of the machine are online.
// Usable is what affinity allows (as it was when the process started) or, if that is less, the cgroups' limit of processor time,
// rounded up: the tightest from the process's own cgroup to the root, of version 2 (cpu.max) or 1 (cpu.cfs_quota_us).
//
// GOMAXPROCS heeds that limit as well, but never goes below 2.
func CPUs() (usable, machine int) {
	return cpus(os.DirFS("/"), runtime.NumCPU())
}

func cpus(root fs.FS, affinity int) (usable, machine int) {
	machine = max(affinity, countCPUs(text(root, "sys/devices/system/cpu/online")))
	usable = affinity
	own := text(root, "proc/self/cgroup")
	for mount := range strings.Lines(text(root, "proc/self/mountinfo")) {
		if limit := cgroupLimit(root, mount, own); limit > 0 {
			usable = min(usable, limit)
		}
	}
	return max(1, usable), machine
}

// cgroupLimit returns the processors' worth of time that the cgroups below one mount allow, rounded up; 0 is no limit.
// mount is a line of /proc/self/mountinfo (proc_pid_mountinfo(5)), own is /proc/self/cgroup (cgroups(7)).
func cgroupLimit(root fs.FS, mount, own string) int {
	before, after, ok := strings.Cut(mount, " - ")
	where, kind := strings.Fields(before), strings.Fields(after)
	if !ok || len(where) < 5 || len(kind) < 3 {
		return 0
	}
	var read func(root fs.FS, dir string) int
	var group string
	switch {
	case kind[0] == "cgroup2":
		read, group = cpuMax, ownGroup(own, "")
	case kind[0] == "cgroup" && hasWord(kind[2], "cpu"):
		read, group = cfsQuota, ownGroup(own, "cpu")
	default:
		return 0
	}
	// In a container the mount may show a part of the tree only, from mountRoot on. A group outside of it, or of our cgroup
	// namespace ("/.."), cannot be seen: what remains is the mount itself.
	mountRoot, point := unescape(where[3]), strings.TrimPrefix(unescape(where[4]), "/")
	below, ok := strings.CutPrefix(group, strings.TrimSuffix(mountRoot, "/"))
	if !ok || strings.HasPrefix(below, "/..") || (below != "" && below[0] != '/') {
		below = ""
	}
	limit := 0
	for dir := path.Join(point, below); ; dir = path.Dir(dir) {
		if l := read(root, dir); l > 0 && (limit == 0 || l < limit) {
			limit = l
		}
		if dir == point || dir == "." {
			return limit
		}
	}
}

// ownGroup returns the path of the process's cgroup in the hierarchy of a controller; "" is version 2.
// A line of own is ID:CONTROLLERS:PATH.
func ownGroup(own, controller string) string {
	for line := range strings.Lines(own) {
		id, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		controllers, group, _ := strings.Cut(rest, ":")
		if controller == "" && id == "0" && controllers == "" || controller != "" && hasWord(controllers, controller) {
			return group
		}
	}
	return ""
}

// cpuMax reads cpu.max: "max" or a quota, and the period, both in µs.
func cpuMax(root fs.FS, dir string) int {
	quota, period, _ := strings.Cut(text(root, path.Join(dir, "cpu.max")), " ")
	return quotient(quota, period)
}

// cfsQuota reads the like for version 1, where no limit is -1.
func cfsQuota(root fs.FS, dir string) int {
	return quotient(text(root, path.Join(dir, "cpu.cfs_quota_us")), text(root, path.Join(dir, "cpu.cfs_period_us")))
}

// quotient returns quota / period rounded up, 0 if that is no limit.
func quotient(quota, period string) int {
	q, err := strconv.ParseInt(quota, 10, 64)
	p, err2 := strconv.ParseInt(period, 10, 64)
	if err != nil || err2 != nil || q <= 0 || p <= 0 {
		return 0
	}
	n := q / p
	if q%p != 0 {
		n++
	}
	return int(n)
}

// countCPUs counts a list such as "0-3,6"; 0 if it is malformed.
func countCPUs(list string) int {
	n := 0
	for part := range strings.SplitSeq(list, ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		a, err := strconv.ParseUint(first, 10, 16)
		b, err2 := strconv.ParseUint(last, 10, 16)
		if err != nil || err2 != nil || b < a {
			return 0
		}
		n += int(b-a) + 1
	}
	return n
}

func hasWord(list, word string) bool {
	for w := range strings.SplitSeq(list, ",") {
		if w == word {
			return true
		}
	}
	return false
}

// unescape decodes the octal escapes of blanks and backslashes in mountinfo.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// text returns the contents of a file without the last line end, "" if it cannot be read: a limit that is not shown is none.
func text(root fs.FS, name string) string {
	b, err := fs.ReadFile(root, name)
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(string(b), "\n")
}
