// Command gofuse serves a token file by go-fuse, the FUSE library of most Go programs. It has a module of its own, as
// steve does not depend on that library. It counts the tokens of each thread id and always has enough: nobody waits. The
// library answers POLL with ENOSYS by construction, so that no client could wait without blocking either.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: gofuse DIRECTORY: serves DIRECTORY/token")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintf(os.Stderr, "gofuse: %v\n", err)
		os.Exit(1)
	}
}

func run(dir string) error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	t := &tokens{RawFileSystem: fuse.NewDefaultRawFileSystem(), held: map[uint32]int{}}
	server, err := fuse.NewServer(t, dir, &fuse.MountOptions{
		Name: "gofuse", FsName: "gofuse", AllowOther: true, DirectMountStrict: true,
		Options: []string{"default_permissions"},
	})
	if err != nil {
		return err
	}
	go server.Serve()
	if err := server.WaitMount(); err != nil {
		return err
	}
	fmt.Println("ready")
	<-signals
	return syscall.Unmount(dir, syscall.MNT_DETACH)
}

// The one file.
const (
	name   = "token"
	fileID = 2
)

// Names and attributes hold for ever.
const forever = 365 * 24 * 60 * 60 // seconds

// openFlags are those of steve's file.
const openFlags = fuse.FOPEN_DIRECT_IO | fuse.FOPEN_NONSEEKABLE | fuse.FOPEN_STREAM | fuse.FOPEN_NOFLUSH |
	fuse.FOPEN_PARALLEL_DIRECT_WRITES

// tokens is a file system of one file.
type tokens struct {
	fuse.RawFileSystem

	mu   sync.Mutex // guards held
	held map[uint32]int
}

func attr(id uint64) fuse.Attr {
	if id == fuse.FUSE_ROOT_ID {
		return fuse.Attr{Ino: id, Mode: syscall.S_IFDIR | 0o700, Nlink: 2}
	}
	return fuse.Attr{Ino: id, Mode: syscall.S_IFREG | 0o600, Nlink: 1, Size: 1}
}

func (t *tokens) Lookup(_ <-chan struct{}, _ *fuse.InHeader, file string, out *fuse.EntryOut) fuse.Status {
	if file != name {
		return fuse.ENOENT
	}
	*out = fuse.EntryOut{NodeId: fileID, EntryValid: forever, AttrValid: forever, Attr: attr(fileID)}
	return fuse.OK
}

func (t *tokens) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	*out = fuse.AttrOut{AttrValid: forever, Attr: attr(in.NodeId)}
	return fuse.OK
}

func (t *tokens) Open(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	if in.NodeId != fileID {
		return fuse.EACCES
	}
	*out = fuse.OpenOut{Fh: 1, OpenFlags: openFlags}
	return fuse.OK
}

func (t *tokens) Read(_ <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	t.mu.Lock()
	t.held[in.Pid]++
	t.mu.Unlock()
	buf[0] = '+'
	return fuse.ReadResultData(buf[:1]), fuse.OK
}

func (t *tokens) Write(_ <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.held[in.Pid] < len(data) {
		return 0, fuse.Status(syscall.ENOSPC)
	}
	t.held[in.Pid] -= len(data)
	return uint32(len(data)), fuse.OK
}
