package guest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"

	"steve/internal/testkit/guest/job"
)

// A pc is what QEMU simulates without help of the processor's (TCG). The host's
// files come by virtiofs: each directory has a server, which needs root.
type pc struct{}

func (pc) hostFS(dir string) job.FS {
	return job.FS{Type: "virtiofs", Source: tag(dir)}
}

// tag is the name that a directory of the host has between QEMU and the guest.
func tag(dir string) string {
	if dir == "/" {
		return "root"
	}
	return "share"
}

func (pc) processes(dir string, cfg Config, lines []*os.File) (processes, error) {
	memory := fmt.Sprintf("%dM", cfg.memory())
	qemu := exec.Command(filepath.Join(cfg.Kernel, "qemu"),
		// QEMU 7.2 with la57 and cx16 now and then crashes a kernel 6.12.
		"-accel", "tcg,thread=multi,tb-size=512", "-cpu", "max,la57=off,cx16=off", "-smp", "2",
		// The servers of virtiofs read and write the guest's memory.
		"-object", "memory-backend-memfd,id=memory,share=on,size="+memory, "-m", memory,
		"-M", "q35,usb=off,vmport=off,smbus=off,sata=off,memory-backend=memory",
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-serial", "file:/dev/fd/3", "-serial", "file:/dev/fd/4", "-serial", "file:/dev/fd/5",
		"-kernel", filepath.Join(cfg.Kernel, "vmlinux"), "-initrd", filepath.Join(dir, initrd),
		"-append", "quiet console=ttyS2 rdinit=/init oops=panic panic=-1 nokaslr mitigations=off nowatchdog"+
			" no_timer_check tsc=unstable rcupdate.rcu_expedited=1"+
			// Self-tests and certificates, a fourth of what it takes to boot.
			" cryptomgr.notests initcall_blacklist=load_system_certificate_list,jent_mod_init,crypto_kdf108_init,init_encrypted")
	qemu.ExtraFiles = lines
	qemu.Stdout, qemu.Stderr = lines[2], lines[2]

	// What is mounted for writing must not be cached: the host may look at it, and change it.
	servers := processes{}
	shared := []struct{ dir, cache string }{{"/", "always"}, {cfg.Share, "none"}}
	for _, s := range shared {
		if s.dir == "" {
			continue
		}
		socket := filepath.Join(dir, tag(s.dir))
		listener, err := listen(socket)
		if err != nil {
			servers.closeFiles()
			return nil, err
		}
		server := exec.Command(filepath.Join(cfg.Kernel, "virtiofsd"),
			"--fd=3", "-o", "source="+s.dir, "-o", "cache="+s.cache, "-o", "sandbox=chroot", "-o", "no_posix_lock")
		server.ExtraFiles = []*os.File{listener}
		server.Stderr = lines[2]
		servers = append(servers, server)
		qemu.Args = append(qemu.Args,
			"-chardev", "socket,id="+tag(s.dir)+",path="+socket,
			"-device", "vhost-user-fs-pci,queue-size=1024,chardev="+tag(s.dir)+",tag="+tag(s.dir))
	}
	return append(servers, qemu), nil
}

// listen returns a listening socket, so that QEMU can connect whether the server
// that gets it is ready or not.
func listen(path string) (*os.File, error) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		return nil, err
	}
	defer l.Close()
	l.SetUnlinkOnClose(false)
	return l.File()
}
