package guest

import (
	"bytes"
	"fmt"
)

// An archive is a cpio archive of the "newc" form, which the kernel unpacks as
// initramfs (Documentation/driver-api/early-userspace/buffer-format.rst).
// Directories come before what is in them; the last call is end.
type archive struct {
	buf bytes.Buffer
	ino int
}

func (a *archive) dir(name string)                  { a.entry(name, 0o040755, nil) }
func (a *archive) file(name string, data []byte)    { a.entry(name, 0o100644, data) }
func (a *archive) program(name string, data []byte) { a.entry(name, 0o100755, data) }
func (a *archive) end()                             { a.entry("TRAILER!!!", 0, nil) }

func (a *archive) entry(name string, mode uint32, data []byte) {
	a.ino++
	header := []any{
		a.ino, mode,
		0, 0, // uid, gid
		1, 0, // links, time
		len(data),
		0, 0, 0, 0, // device, device of the node
		len(name) + 1,
		0, // checksum
	}
	a.buf.WriteString("070701")
	for _, field := range header {
		fmt.Fprintf(&a.buf, "%08x", field)
	}
	a.buf.WriteString(name)
	a.buf.WriteByte(0)
	a.pad()
	a.buf.Write(data)
	a.pad()
}

// pad fills up to a multiple of four bytes.
func (a *archive) pad() {
	for a.buf.Len()%4 != 0 {
		a.buf.WriteByte(0)
	}
}
