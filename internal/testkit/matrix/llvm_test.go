package matrix

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"steve/internal/testkit/jobs"
)

// prepareOffload makes an object file with code for many devices, which clang-linker-wrapper links one by one.
func prepareOffload(t *testing.T, dir string) {
	var packed []byte
	for i := range jobCount {
		packed = append(packed, offloadBinary(fmt.Sprintf("sm_%d", 40+i))...)
	}
	if err := os.WriteFile(filepath.Join(dir, "packed"), packed, 0o644); err != nil {
		t.Fatal(err)
	}
	// The type is SHT_LLVM_OFFLOADING.
	jobs.WriteFile(t, filepath.Join(dir, "host.s"), `
	.section .llvm.offloading,"e",@0x6fff4c0b
	.balign 8
	.incbin "packed"
	.section .note.GNU-stack,"",@progbits
`)
	jobs.Start(t, dir, nil, "gcc", "-c", "host.s").Succeed(t)
}

// offloadBinary packs nothing for one device, in the format of llvm/Object/OffloadBinary.h, version 1.
func offloadBinary(arch string) []byte {
	const (
		headerSize, entrySize, stringsSize = 32, 40, 32

		object, openMP = 1, 1 // kinds of an image, and of offloading
	)
	text := []byte("\x00arch\x00triple\x00nvptx64-nvidia-cuda\x00" + arch + "\x00")
	at := func(s string) uint64 {
		return headerSize + entrySize + stringsSize + uint64(bytes.Index(text, append([]byte(s), 0)))
	}
	size := (headerSize + entrySize + stringsSize + len(text) + 7) / 8 * 8
	out := make([]byte, 0, size)
	out = append(out, 0x10, 0xff, 0x10, 0xad)
	out = binary.LittleEndian.AppendUint32(out, 1)
	for _, n := range []uint64{uint64(size), headerSize, entrySize} {
		out = binary.LittleEndian.AppendUint64(out, n)
	}
	out = binary.LittleEndian.AppendUint64(out, object|openMP<<16)
	for _, n := range []uint64{
		headerSize + entrySize, 2, uint64(size), 0, // the strings, and the image: empty, at the end
		at("arch"), at(arch), at("triple"), at("nvptx64-nvidia-cuda"),
	} {
		out = binary.LittleEndian.AppendUint64(out, n)
	}
	return append(out, text...)[:size]
}

// linkerWrapper is LLVM's client. It has a stand-in for the compiler that links for a device.
func linkerWrapper(t *testing.T, l *launch) {
	l.standIn(t, "clang")
	l.argv = []string{cached("clang-linker-wrapper-22")(t), "--host-triple=x86_64-unknown-linux-gnu", "--linker-path=/usr/bin/ld",
		"--wrapper-jobs=jobserver", "-shared", "-o", "out", filepath.Join(l.prepared, "host.o")}
	l.env = []string{"TMPDIR=" + l.dir}
}
