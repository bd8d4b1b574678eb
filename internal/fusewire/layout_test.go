package fusewire_test

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"steve/internal/fusewire"
	"steve/internal/testkit/need"
)

// A field of a struct of <linux/fuse.h>, offset and size in bytes.
type field struct {
	name      string
	off, size int
	since     int // minor version of the header that has it by this name; 0: any that counts
}

// layout pins the structs that are read and written here. The other tests of this file hold the code to it, and it to
// the kernel's header.
var layout = []struct {
	name   string
	size   int
	fields []field
}{
	{"fuse_in_header", 40, []field{{"len", 0, 4, 0}, {"opcode", 4, 4, 0}, {"unique", 8, 8, 0}, {"nodeid", 16, 8, 0},
		{"uid", 24, 4, 0}, {"gid", 28, 4, 0}, {"pid", 32, 4, 0}, {"total_extlen", 36, 2, 38}}},
	{"fuse_out_header", 16, []field{{"len", 0, 4, 0}, {"error", 4, 4, 0}, {"unique", 8, 8, 0}}},
	{"fuse_init_in", 64, []field{{"major", 0, 4, 0}, {"minor", 4, 4, 0}, {"max_readahead", 8, 4, 0}, {"flags", 12, 4, 0},
		{"flags2", 16, 4, 36}}},
	{"fuse_init_out", 64, []field{{"major", 0, 4, 0}, {"minor", 4, 4, 0}, {"max_readahead", 8, 4, 0}, {"flags", 12, 4, 0},
		{"max_background", 16, 2, 0}, {"congestion_threshold", 18, 2, 0}, {"max_write", 20, 4, 0}, {"time_gran", 24, 4, 0},
		{"max_pages", 28, 2, 0}, {"map_alignment", 30, 2, 0}, {"flags2", 32, 4, 36}}},
	{"cuse_init_in", 16, []field{{"major", 0, 4, 0}, {"minor", 4, 4, 0}, {"flags", 12, 4, 0}}},
	{"cuse_init_out", 72, []field{{"major", 0, 4, 0}, {"minor", 4, 4, 0}, {"flags", 12, 4, 0}, {"max_read", 16, 4, 0},
		{"max_write", 20, 4, 0}, {"dev_major", 24, 4, 0}, {"dev_minor", 28, 4, 0}}},
	{"fuse_open_in", 8, []field{{"flags", 0, 4, 0}, {"open_flags", 4, 4, 33}}},
	{"fuse_open_out", 16, []field{{"fh", 0, 8, 0}, {"open_flags", 8, 4, 0}}},
	{"fuse_read_in", 40, []field{{"fh", 0, 8, 0}, {"offset", 8, 8, 0}, {"size", 16, 4, 0}, {"read_flags", 20, 4, 0},
		{"lock_owner", 24, 8, 0}, {"flags", 32, 4, 0}}},
	{"fuse_write_in", 40, []field{{"fh", 0, 8, 0}, {"offset", 8, 8, 0}, {"size", 16, 4, 0}, {"write_flags", 20, 4, 0},
		{"lock_owner", 24, 8, 0}, {"flags", 32, 4, 0}}},
	{"fuse_write_out", 8, []field{{"size", 0, 4, 0}}},
	{"fuse_release_in", 24, []field{{"fh", 0, 8, 0}, {"flags", 8, 4, 0}, {"release_flags", 12, 4, 0}, {"lock_owner", 16, 8, 0}}},
	{"fuse_flush_in", 24, []field{{"fh", 0, 8, 0}, {"lock_owner", 16, 8, 0}}},
	{"fuse_poll_in", 24, []field{{"fh", 0, 8, 0}, {"kh", 8, 8, 0}, {"flags", 16, 4, 0}, {"events", 20, 4, 0}}},
	{"fuse_poll_out", 8, []field{{"revents", 0, 4, 0}}},
	{"fuse_ioctl_in", 32, []field{{"fh", 0, 8, 0}, {"flags", 8, 4, 0}, {"cmd", 12, 4, 0}, {"arg", 16, 8, 0},
		{"in_size", 24, 4, 0}, {"out_size", 28, 4, 0}}},
	{"fuse_ioctl_out", 16, []field{{"result", 0, 4, 0}, {"flags", 4, 4, 0}, {"in_iovs", 8, 4, 0}, {"out_iovs", 12, 4, 0}}},
	{"fuse_interrupt_in", 8, []field{{"unique", 0, 8, 0}}},
	{"fuse_getattr_in", 16, []field{{"getattr_flags", 0, 4, 0}, {"fh", 8, 8, 0}}},
	{"fuse_setattr_in", 88, []field{{"valid", 0, 4, 0}, {"fh", 8, 8, 0}, {"size", 16, 8, 0}, {"mode", 68, 4, 0},
		{"uid", 76, 4, 0}, {"gid", 80, 4, 0}}},
	{"fuse_attr_out", 104, []field{{"attr_valid", 0, 8, 0}, {"attr.ino", 16, 8, 0}, {"attr.size", 24, 8, 0},
		{"attr.blocks", 32, 8, 0}, {"attr.atime", 40, 8, 0}, {"attr.mtime", 48, 8, 0}, {"attr.ctime", 56, 8, 0},
		{"attr.atimensec", 64, 4, 0}, {"attr.mtimensec", 68, 4, 0}, {"attr.ctimensec", 72, 4, 0}, {"attr.mode", 76, 4, 0},
		{"attr.nlink", 80, 4, 0}, {"attr.uid", 84, 4, 0}, {"attr.gid", 88, 4, 0}, {"attr.rdev", 92, 4, 0}, {"attr.blksize", 96, 4, 0}}},
	{"fuse_statfs_out", 80, []field{{"st.blocks", 0, 8, 0}, {"st.bfree", 8, 8, 0}, {"st.bavail", 16, 8, 0}, {"st.files", 24, 8, 0},
		{"st.ffree", 32, 8, 0}, {"st.bsize", 40, 4, 0}, {"st.namelen", 44, 4, 0}, {"st.frsize", 48, 4, 0}}},
	{"fuse_notify_poll_wakeup_out", 8, []field{{"kh", 0, 8, 0}}},
}

// constants pins the numbers of <linux/fuse.h> that the code has names for, or writes without one.
var constants = []struct {
	name  string
	got   uint64
	want  uint64
	since int
}{
	{"FUSE_KERNEL_VERSION", fusewire.Major, 7, 0},
	{"FUSE_MIN_READ_BUFFER", fusewire.MinReadBuffer, 8192, 0},
	{"FUSE_ATOMIC_O_TRUNC", uint64(fusewire.InitAtomicOTrunc), 1 << 3, 0},
	{"FUSE_ASYNC_DIO", uint64(fusewire.InitAsyncDIO), 1 << 15, 0},
	{"FUSE_MAX_PAGES", uint64(fusewire.InitMaxPages), 1 << 22, 0},
	{"FUSE_INIT_EXT", uint64(fusewire.InitExt), 1 << 30, 36},
	{"FUSE_HAS_RESEND", uint64(fusewire.InitHasResend), 1 << 39, 40},
	{"CUSE_UNRESTRICTED_IOCTL", fusewire.CuseUnrestrictedIoctl, 1, 0},
	{"FOPEN_DIRECT_IO", uint64(fusewire.DirectIO), 1 << 0, 0},
	{"FOPEN_KEEP_CACHE", uint64(fusewire.KeepCache), 1 << 1, 0},
	{"FOPEN_NONSEEKABLE", uint64(fusewire.Nonseekable), 1 << 2, 0},
	{"FOPEN_CACHE_DIR", uint64(fusewire.CacheDir), 1 << 3, 0},
	{"FOPEN_STREAM", uint64(fusewire.Stream), 1 << 4, 0},
	{"FOPEN_NOFLUSH", uint64(fusewire.Noflush), 1 << 5, 35},
	{"FOPEN_PARALLEL_DIRECT_WRITES", uint64(fusewire.ParallelDirectWrites), 1 << 6, 38},
	{"FUSE_READ_LOCKOWNER", uint64(fusewire.ReadLockOwner), 1 << 1, 0},
	{"FUSE_WRITE_CACHE", uint64(fusewire.WriteCache), 1 << 0, 0},
	{"FUSE_WRITE_LOCKOWNER", uint64(fusewire.WriteLockOwner), 1 << 1, 0},
	{"FUSE_WRITE_KILL_SUIDGID", uint64(fusewire.WriteKillSuidgid), 1 << 2, 33},
	{"FUSE_RELEASE_FLUSH", uint64(fusewire.ReleaseFlush), 1 << 0, 0},
	{"FUSE_RELEASE_FLOCK_UNLOCK", uint64(fusewire.ReleaseFlockUnlock), 1 << 1, 0},
	{"FUSE_POLL_SCHEDULE_NOTIFY", uint64(fusewire.PollScheduleNotify), 1 << 0, 0},
	{"FUSE_IOCTL_COMPAT", uint64(fusewire.IoctlCompat), 1 << 0, 0},
	{"FUSE_IOCTL_UNRESTRICTED", uint64(fusewire.IoctlUnrestricted), 1 << 1, 0},
	{"FUSE_IOCTL_RETRY", uint64(fusewire.IoctlRetry), 1 << 2, 0},
	{"FUSE_IOCTL_32BIT", uint64(fusewire.Ioctl32Bit), 1 << 3, 0},
	{"FUSE_IOCTL_DIR", uint64(fusewire.IoctlDir), 1 << 4, 0},
	{"FUSE_IOCTL_COMPAT_X32", uint64(fusewire.IoctlCompatX32), 1 << 5, 0},
	{"FUSE_GETATTR_FH", fusewire.GetattrFh, 1 << 0, 0},
	{"FATTR_MODE", uint64(fusewire.SetattrMode), 1 << 0, 0},
	{"FATTR_UID", uint64(fusewire.SetattrUID), 1 << 1, 0},
	{"FATTR_GID", uint64(fusewire.SetattrGID), 1 << 2, 0},
	{"FATTR_SIZE", uint64(fusewire.SetattrSize), 1 << 3, 0},
	{"FATTR_ATIME", uint64(fusewire.SetattrAtime), 1 << 4, 0},
	{"FATTR_MTIME", uint64(fusewire.SetattrMtime), 1 << 5, 0},
	{"FATTR_FH", uint64(fusewire.SetattrFh), 1 << 6, 0},
	{"FATTR_ATIME_NOW", uint64(fusewire.SetattrAtimeNow), 1 << 7, 0},
	{"FATTR_MTIME_NOW", uint64(fusewire.SetattrMtimeNow), 1 << 8, 0},
	{"FATTR_LOCKOWNER", uint64(fusewire.SetattrLockOwner), 1 << 9, 0},
	{"FATTR_CTIME", uint64(fusewire.SetattrCtime), 1 << 10, 0},
	{"FATTR_KILL_SUIDGID", uint64(fusewire.SetattrKillSuidgid), 1 << 11, 33},
	{"FUSE_NOTIFY_POLL", uint64(binary.NativeEndian.Uint32(fusewire.AppendPollWake(nil, 0)[4:])), 1, 0},
}

// opcodes pins enum fuse_opcode.
var opcodes = []struct {
	op    fusewire.Opcode
	want  uint32
	name  string
	since int
}{
	{fusewire.OpLookup, 1, "LOOKUP", 0}, {fusewire.OpForget, 2, "FORGET", 0}, {fusewire.OpGetattr, 3, "GETATTR", 0},
	{fusewire.OpSetattr, 4, "SETATTR", 0}, {fusewire.OpReadlink, 5, "READLINK", 0}, {fusewire.OpSymlink, 6, "SYMLINK", 0},
	{fusewire.OpMknod, 8, "MKNOD", 0}, {fusewire.OpMkdir, 9, "MKDIR", 0}, {fusewire.OpUnlink, 10, "UNLINK", 0},
	{fusewire.OpRmdir, 11, "RMDIR", 0}, {fusewire.OpRename, 12, "RENAME", 0}, {fusewire.OpLink, 13, "LINK", 0},
	{fusewire.OpOpen, 14, "OPEN", 0}, {fusewire.OpRead, 15, "READ", 0}, {fusewire.OpWrite, 16, "WRITE", 0},
	{fusewire.OpStatfs, 17, "STATFS", 0}, {fusewire.OpRelease, 18, "RELEASE", 0}, {fusewire.OpFsync, 20, "FSYNC", 0},
	{fusewire.OpSetxattr, 21, "SETXATTR", 0}, {fusewire.OpGetxattr, 22, "GETXATTR", 0}, {fusewire.OpListxattr, 23, "LISTXATTR", 0},
	{fusewire.OpRemovexattr, 24, "REMOVEXATTR", 0}, {fusewire.OpFlush, 25, "FLUSH", 0}, {fusewire.OpInit, 26, "INIT", 0},
	{fusewire.OpOpendir, 27, "OPENDIR", 0}, {fusewire.OpReaddir, 28, "READDIR", 0}, {fusewire.OpReleasedir, 29, "RELEASEDIR", 0},
	{fusewire.OpFsyncdir, 30, "FSYNCDIR", 0}, {fusewire.OpGetlk, 31, "GETLK", 0}, {fusewire.OpSetlk, 32, "SETLK", 0},
	{fusewire.OpSetlkw, 33, "SETLKW", 0}, {fusewire.OpAccess, 34, "ACCESS", 0}, {fusewire.OpCreate, 35, "CREATE", 0},
	{fusewire.OpInterrupt, 36, "INTERRUPT", 0}, {fusewire.OpBmap, 37, "BMAP", 0}, {fusewire.OpDestroy, 38, "DESTROY", 0},
	{fusewire.OpIoctl, 39, "IOCTL", 0}, {fusewire.OpPoll, 40, "POLL", 0}, {fusewire.OpNotifyReply, 41, "NOTIFY_REPLY", 0},
	{fusewire.OpBatchForget, 42, "BATCH_FORGET", 0}, {fusewire.OpFallocate, 43, "FALLOCATE", 0},
	{fusewire.OpReaddirplus, 44, "READDIRPLUS", 0}, {fusewire.OpRename2, 45, "RENAME2", 0}, {fusewire.OpLseek, 46, "LSEEK", 0},
	{fusewire.OpCopyFileRange, 47, "COPY_FILE_RANGE", 0}, {fusewire.OpSetupmapping, 48, "SETUPMAPPING", 0},
	{fusewire.OpRemovemapping, 49, "REMOVEMAPPING", 0}, {fusewire.OpSyncfs, 50, "SYNCFS", 34}, {fusewire.OpTmpfile, 51, "TMPFILE", 37},
	{fusewire.OpStatx, 52, "STATX", 39}, {fusewire.OpCopyFileRange64, 53, "COPY_FILE_RANGE_64", 45},
	{fusewire.OpCuseInit, 4096, "CUSE_INIT", 0},
}

func TestNumbers(t *testing.T) {
	for _, c := range constants {
		if c.got != c.want {
			t.Errorf("%s is %#x here, want %#x", c.name, c.got, c.want)
		}
	}
	for _, o := range opcodes {
		if uint32(o.op) != o.want || o.op.String() != o.name {
			t.Errorf("opcode %s has number %d and prints %q, want %d", o.name, uint32(o.op), o.op, o.want)
		}
	}
}

// TestKernelHeader compares the tables with what the C compiler makes of <linux/fuse.h>, as far as that version has it.
func TestKernelHeader(t *testing.T) {
	cc, err := exec.LookPath("cc")
	if err != nil {
		need.Missing(t, "C compiler")
	}
	if err := exec.Command(cc, "-E", "-include", "linux/fuse.h", "-x", "c", os.DevNull).Run(); err != nil {
		need.Missing(t, "<linux/fuse.h> (Debian: linux-libc-dev)")
	}

	type line struct {
		text  string // as the program is to print it
		since int
	}
	var lines []line
	var c strings.Builder
	add := func(since int, want, format, args string) {
		lines = append(lines, line{want, since})
		fmt.Fprintf(&c, "#if FUSE_KERNEL_MINOR_VERSION >= %d\n\tprintf(\"%s\\n\", %s);\n#endif\n", since, format, args)
	}
	for _, s := range layout {
		add(0, fmt.Sprintf("%s %d", s.name, s.size), s.name+" %zu", "sizeof(struct "+s.name+")")
		for _, f := range s.fields {
			add(f.since, fmt.Sprintf("%s.%s %d %d", s.name, f.name, f.off, f.size), s.name+"."+f.name+" %zu %zu",
				fmt.Sprintf("offsetof(struct %[1]s, %[2]s), sizeof(((struct %[1]s *)0)->%[2]s)", s.name, f.name))
		}
	}
	for _, k := range constants {
		add(k.since, fmt.Sprintf("%s %d", k.name, k.want), k.name+" %llu", "(unsigned long long)"+k.name)
	}
	for _, o := range opcodes {
		name := "FUSE_" + o.name
		if o.op == fusewire.OpCuseInit {
			name = o.name
		}
		add(o.since, fmt.Sprintf("%s %d", name, o.want), name+" %u", "(unsigned)"+name)
	}

	dir := t.TempDir()
	src, bin := filepath.Join(dir, "layout.c"), filepath.Join(dir, "layout")
	program := "#include <linux/fuse.h>\n#include <stddef.h>\n#include <stdio.h>\nint main(void) {\n" +
		"\tprintf(\"%d\\n\", FUSE_KERNEL_MINOR_VERSION);\n" + c.String() + "\treturn 0;\n}\n"
	if err := os.WriteFile(src, []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(cc, "-o", bin, src).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := exec.Command(bin).Output()
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Split(strings.TrimSpace(string(out)), "\n")
	minor, err := strconv.Atoi(got[0])
	if err != nil || minor < fusewire.MinMinor {
		need.Missing(t, fmt.Sprintf("<linux/fuse.h> of 7.%d or newer, this is 7.%s", fusewire.MinMinor, got[0]))
	}
	var want []string
	for _, l := range lines {
		if l.since <= minor {
			want = append(want, l.text)
		}
	}
	if len(got[1:]) != len(want) {
		t.Fatalf("the program printed %d lines, want %d", len(got[1:]), len(want))
	}
	for i, w := range want {
		if got[1+i] != w {
			t.Errorf("the header of 7.%d has %q, the table %q", minor, got[1+i], w)
		}
	}
}

// values are the fields of a struct by name.
type values map[string]uint64

// checkFields compares b, a struct, with want at the offsets of the layout. Fields that are not in want must be zero if
// rest is set.
func checkFields(t *testing.T, name string, b []byte, want values, rest bool) {
	t.Helper()
	for _, s := range layout {
		if s.name != name {
			continue
		}
		if len(b) != s.size {
			t.Fatalf("%s has %d bytes, want %d", name, len(b), s.size)
		}
		b = append([]byte(nil), b...)
		seen := 0
		for _, f := range s.fields {
			w, ok := want[f.name]
			if !ok {
				continue
			}
			seen++
			p := b[f.off : f.off+f.size]
			var got uint64
			switch f.size {
			case 2:
				got = uint64(binary.NativeEndian.Uint16(p))
			case 4:
				got = uint64(binary.NativeEndian.Uint32(p))
			case 8:
				got = binary.NativeEndian.Uint64(p)
			}
			if got != w {
				t.Errorf("%s.%s is %#x on the wire, %#x in Go", name, f.name, got, w)
			}
			clear(p)
		}
		if seen != len(want) {
			t.Errorf("%s: %d fields compared, want %d", name, seen, len(want))
		}
		for i, c := range b {
			if rest && c != 0 {
				t.Errorf("%s: byte %d is %#x, want 0", name, i, c)
			}
		}
		return
	}
	t.Fatalf("no %s in the layout", name)
}

// pattern is n bytes, all different, so that a field read from the wrong place shows.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i + 1)
	}
	return b
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestParseLayout(t *testing.T) {
	b := pattern(40)
	binary.NativeEndian.PutUint32(b, 40)
	r := must(fusewire.ParseRequest(b))(t)
	checkFields(t, "fuse_in_header", b, values{"len": uint64(r.Len), "opcode": uint64(r.Opcode), "unique": r.Unique,
		"nodeid": r.NodeID, "uid": uint64(r.UID), "gid": uint64(r.GID), "pid": uint64(r.PID)}, false)

	b = pattern(64)
	binary.NativeEndian.PutUint32(b[12:], uint32(fusewire.InitExt)|5)
	init := must(fusewire.ParseInit(b))(t)
	checkFields(t, "fuse_init_in", b, values{"major": uint64(init.Major), "minor": uint64(init.Minor),
		"max_readahead": uint64(init.MaxReadahead), "flags": uint64(uint32(init.Flags)), "flags2": uint64(init.Flags >> 32)}, false)

	b = pattern(16)
	cuse := must(fusewire.ParseCuseInit(b))(t)
	checkFields(t, "cuse_init_in", b, values{"major": uint64(cuse.Major), "minor": uint64(cuse.Minor), "flags": uint64(cuse.Flags)}, false)

	b = pattern(8)
	open := must(fusewire.ParseOpen(b))(t)
	checkFields(t, "fuse_open_in", b, values{"flags": uint64(open.Flags), "open_flags": uint64(open.OpenFlags)}, false)

	b = pattern(40)
	read := must(fusewire.ParseRead(b))(t)
	checkFields(t, "fuse_read_in", b, values{"fh": read.Fh, "offset": read.Offset, "size": uint64(read.Size),
		"read_flags": uint64(read.ReadFlags), "lock_owner": read.LockOwner, "flags": uint64(read.Flags)}, false)

	b = append(pattern(40), "+++"...)
	binary.NativeEndian.PutUint32(b[16:], 3)
	write := must(fusewire.ParseWrite(b))(t)
	checkFields(t, "fuse_write_in", b[:40], values{"fh": write.Fh, "offset": write.Offset, "size": uint64(write.Size),
		"write_flags": uint64(write.WriteFlags), "lock_owner": write.LockOwner, "flags": uint64(write.Flags)}, false)
	if string(write.Data) != "+++" {
		t.Errorf("data of the WRITE is %q", write.Data)
	}

	b = pattern(24)
	release := must(fusewire.ParseRelease(b))(t)
	checkFields(t, "fuse_release_in", b, values{"fh": release.Fh, "flags": uint64(release.Flags),
		"release_flags": uint64(release.ReleaseFlags), "lock_owner": release.LockOwner}, false)
	flush := must(fusewire.ParseFlush(b))(t)
	checkFields(t, "fuse_flush_in", b, values{"fh": flush.Fh, "lock_owner": flush.LockOwner}, false)
	poll := must(fusewire.ParsePoll(b))(t)
	checkFields(t, "fuse_poll_in", b, values{"fh": poll.Fh, "kh": poll.Kh, "flags": uint64(poll.Flags), "events": uint64(poll.Events)}, false)

	b = append(pattern(32), "abc"...)
	binary.NativeEndian.PutUint32(b[24:], 3)
	ioctl := must(fusewire.ParseIoctl(b))(t)
	checkFields(t, "fuse_ioctl_in", b[:32], values{"fh": ioctl.Fh, "flags": uint64(ioctl.Flags), "cmd": uint64(ioctl.Cmd),
		"arg": ioctl.Arg, "in_size": uint64(len(ioctl.Data)), "out_size": uint64(ioctl.OutSize)}, false)
	if string(ioctl.Data) != "abc" {
		t.Errorf("data of the IOCTL is %q", ioctl.Data)
	}

	b = pattern(8)
	interrupt := must(fusewire.ParseInterrupt(b))(t)
	checkFields(t, "fuse_interrupt_in", b, values{"unique": interrupt.Unique}, false)

	b = pattern(16)
	getattr := must(fusewire.ParseGetattr(b))(t)
	checkFields(t, "fuse_getattr_in", b, values{"getattr_flags": uint64(getattr.Flags), "fh": getattr.Fh}, false)

	b = pattern(88)
	setattr := must(fusewire.ParseSetattr(b))(t)
	checkFields(t, "fuse_setattr_in", b, values{"valid": uint64(setattr.Valid), "fh": setattr.Fh, "size": setattr.Size,
		"mode": uint64(setattr.Mode), "uid": uint64(setattr.UID), "gid": uint64(setattr.GID)}, false)
}

func TestAppendLayout(t *testing.T) {
	msg := make([]byte, 20)
	fusewire.PutReplyHeader(msg, 0x0102030405060708, 11)
	header := values{"len": 20, "error": 0xfffffff5, "unique": 0x0102030405060708}
	checkFields(t, "fuse_out_header", msg[:16], header, true)
	checkFields(t, "fuse_out_header", fusewire.AppendReplyHeader(nil, 0x0102030405060708, 11, 4), header, true)

	wake := fusewire.AppendPollWake(nil, 1<<40|7)
	checkFields(t, "fuse_out_header", wake[:16], values{"len": 24, "error": 1, "unique": 0}, true)
	checkFields(t, "fuse_notify_poll_wakeup_out", wake[16:], values{"kh": 1<<40 | 7}, true)

	init := fusewire.InitOut{Major: 7, Minor: 38, MaxReadahead: 3, Flags: fusewire.InitExt | 1<<33 | 2, MaxBackground: 4,
		CongestionThreshold: 5, MaxWrite: 6, TimeGran: 8, MaxPages: 9}
	checkFields(t, "fuse_init_out", fusewire.AppendInit(nil, init), values{"major": 7, "minor": 38, "max_readahead": 3,
		"flags": 1<<30 | 2, "max_background": 4, "congestion_threshold": 5, "max_write": 6, "time_gran": 8, "max_pages": 9,
		"flags2": 2}, true)
	init.Flags &^= fusewire.InitExt
	checkFields(t, "fuse_init_out", fusewire.AppendInit(nil, init), values{"major": 7, "minor": 38, "max_readahead": 3,
		"flags": 2, "max_background": 4, "congestion_threshold": 5, "max_write": 6, "time_gran": 8, "max_pages": 9}, true)

	cuse := fusewire.AppendCuseInit(nil, fusewire.CuseInitOut{Major: 7, Minor: 38, Flags: 1, MaxRead: 2, MaxWrite: 3, DevMajor: 4,
		DevMinor: 5, DevName: "steve"})
	checkFields(t, "cuse_init_out", cuse[:72], values{"major": 7, "minor": 38, "flags": 1, "max_read": 2, "max_write": 3,
		"dev_major": 4, "dev_minor": 5}, true)
	if string(cuse[72:]) != "DEVNAME=steve\x00" {
		t.Errorf("device information is %q", cuse[72:])
	}

	checkFields(t, "fuse_open_out", fusewire.AppendOpen(nil, fusewire.OpenOut{Fh: 1 << 40, OpenFlags: fusewire.Stream}),
		values{"fh": 1 << 40, "open_flags": 16}, true)
	checkFields(t, "fuse_write_out", fusewire.AppendWrite(nil, 3), values{"size": 3}, true)
	checkFields(t, "fuse_poll_out", fusewire.AppendPoll(nil, 5), values{"revents": 5}, true)

	ioctl := fusewire.AppendIoctl(nil, -2, []byte("abc"))
	checkFields(t, "fuse_ioctl_out", ioctl[:16], values{"result": 0xfffffffe}, true)
	if string(ioctl[16:]) != "abc" {
		t.Errorf("data of the IOCTL is %q", ioctl[16:])
	}

	attr := fusewire.Attr{Ino: 1, Size: 2, Blocks: 3, Atime: fusewire.Time{Sec: 4, Nsec: 5}, Mtime: fusewire.Time{Sec: 6, Nsec: 7},
		Ctime: fusewire.Time{Sec: 8, Nsec: 9}, Mode: 10, Nlink: 11, UID: 12, GID: 13, Rdev: 14, Blksize: 15}
	checkFields(t, "fuse_attr_out", fusewire.AppendAttr(nil, 16, attr), values{"attr_valid": 16, "attr.ino": 1, "attr.size": 2,
		"attr.blocks": 3, "attr.atime": 4, "attr.atimensec": 5, "attr.mtime": 6, "attr.mtimensec": 7, "attr.ctime": 8,
		"attr.ctimensec": 9, "attr.mode": 10, "attr.nlink": 11, "attr.uid": 12, "attr.gid": 13, "attr.rdev": 14, "attr.blksize": 15}, true)

	statfs := fusewire.Statfs{Blocks: 1, Bfree: 2, Bavail: 3, Files: 4, Ffree: 5, Bsize: 6, Frsize: 7, Namelen: 8}
	checkFields(t, "fuse_statfs_out", fusewire.AppendStatfs(nil, statfs), values{"st.blocks": 1, "st.bfree": 2, "st.bavail": 3,
		"st.files": 4, "st.ffree": 5, "st.bsize": 6, "st.frsize": 7, "st.namelen": 8}, true)
}
