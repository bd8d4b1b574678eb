package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"steve/bench/figures"
	"steve/internal/testkit/guest"
	"steve/internal/testkit/need"
)

// A Guest is what was measured under a kernel that has CUSE, in user-mode Linux: figures of its own world, where a switch
// between processes costs much more than on the host.
type Guest struct {
	Machine  figures.Machine
	Settings []Setting
}

// inGuest is the first argument by which this program measures in a guest. The second is the directory of the programs,
// the third one that it shares with the host.
const inGuest = "in-guest"

// minGuestSlice is many ticks of the guest's clock, 10 ms each, by which it tells the processor time of a process.
const minGuestSlice = 100 * time.Millisecond

// In the shared directory.
const (
	configFile = "config.json"
	guestFile  = "guest.json"
)

// guestKernel is the directory of the newest kernel in the cache that scripts/setup-tests fills.
func guestKernel() string {
	return filepath.Join(need.Cache(), "guest", guest.Kernels[len(guest.Kernels)-1])
}

// measureCUSE runs this program in a guest, if there is a kernel for one.
func measureCUSE(ctx context.Context, p programs, c Config, pairs *Pairs) error {
	kernel := guestKernel()
	if _, err := os.Stat(kernel); err != nil {
		pairs.Missing = append(pairs.Missing, "CUSE: there is no kernel for a guest (scripts/setup-tests)")
		return nil
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	share, err := os.MkdirTemp(p.dir, "guest-")
	if err != nil {
		return err
	}
	if err := writeJSON(filepath.Join(share, configFile), c); err != nil {
		return err
	}
	status, err := guest.Run(ctx, guest.Config{
		Kernel: kernel,
		Job:    []string{self, inGuest, p.dir, share},
		Share:  share,
		Output: os.Stderr,
	})
	if err != nil {
		return err
	}
	if status != 0 {
		return fmt.Errorf("exit status %d in the guest", status)
	}
	pairs.CUSE = &Guest{}
	return readJSON(filepath.Join(share, guestFile), pairs.CUSE)
}

// runInGuest is what the guest runs.
func runInGuest(ctx context.Context, args []string) (err error) {
	if len(args) != 2 {
		return errors.New("this is for the guest that bench starts")
	}
	p, share := programsIn(args[0]), args[1]
	var c Config
	if err := readJSON(filepath.Join(share, configFile), &c); err != nil {
		return err
	}
	c.Slice = max(2*c.Slice, minGuestSlice)
	subjects := onCUSE(p)
	g := Guest{Machine: figures.This()}
	for _, n := range []int{1, 4, 16} {
		g.Settings = append(g.Settings, setting(n, subjects))
	}
	servers, stop, err := startAll(ctx, subjects)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	if err := measureRounds(ctx, p, c, g.Settings, servers); err != nil {
		return err
	}
	return writeJSON(filepath.Join(share, guestFile), g)
}

func writeJSON(path string, v any) error {
	text, err := json.MarshalIndent(v, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

func readJSON(path string, v any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, v)
}
