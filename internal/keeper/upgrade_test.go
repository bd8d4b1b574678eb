package keeper

import (
	"fmt"
	"maps"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestIntegrationUpgrade(t *testing.T) {
	h := start(t, serves)
	worker, keeper := h.served("v1")
	before, ofWorker := fds(t, keeper), fds(t, worker)
	for i := 2; i < 12; i++ {
		version := fmt.Sprintf("v%d", i)
		h.install(version, serves)
		asked := time.Now()
		h.kill(keeper, unix.SIGUSR2)
		h.await(fmt.Sprintf(`^worker %d told park`, worker))
		parked := time.Now()
		next, parent := h.served(version)
		t.Logf("%v after it was asked for, %v after the old one parked", time.Since(asked), time.Since(parked))
		h.await(fmt.Sprintf(`^keeper %d program=%s verb="keep"`, keeper, version))
		if parent != keeper {
			t.Errorf("the keeper is %d, want %d as before", parent, keeper)
		}
		worker = next
	}
	// All is as it was, in the new program.
	h.kill(worker, unix.SIGKILL)
	worker, _ = h.served("v11")
	h.kill(keeper, unix.SIGUSR1)
	h.await(fmt.Sprintf(`^worker %d told report`, worker))
	if after := fds(t, keeper); !maps.Equal(before, after) {
		t.Errorf("the keeper had descriptors %v, and has %v", before, after)
	}
	if after := fds(t, worker); !maps.Equal(ofWorker, after) {
		t.Errorf("the first worker had descriptors %v, the last has %v", ofWorker, after)
	}
	if members := h.processes(); len(members) != 2 {
		t.Errorf("processes %v, want keeper and worker", members)
	}
	if name := comm(keeper); name != "steve" {
		t.Errorf("the keeper is called %q", name)
	}
	h.stop(keeper)
}

// upgraded awaits a worker of version that serves, and its keeper to be of that version too.
func (h *house) upgraded(version string) (worker, keeper int) {
	h.t.Helper()
	worker, keeper = h.served(version)
	h.await(fmt.Sprintf(`^keeper %d program=%s verb="keep"`, keeper, version))
	return worker, keeper
}

// What was asked for while another was under way is done after it.
func TestIntegrationUpgradeTwiceAtOnce(t *testing.T) {
	h := start(t, serves)
	_, keeper := h.served("v1")
	h.install("v2", hangs)
	h.kill(keeper, unix.SIGUSR2)
	h.await(`^worker \d+ started program=v2`)
	h.install("v3", serves)
	h.kill(keeper, unix.SIGUSR2)
	h.await(`upgrade failed`)
	h.upgraded("v3")
	h.stop(keeper)
}

// The old program goes on, and the next upgrade can succeed.
func TestIntegrationUpgradeFails(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		does   string
		parked bool // the old worker has ended by then
	}{
		{crashes, false}, {isFatal, false}, {parks, false}, {hangs, false},
		{crashesReady, true}, {hangsReady, true}, {crashesTurn, true},
	} {
		t.Run(tt.does, func(t *testing.T) {
			t.Parallel()
			h := start(t, serves)
			worker, keeper := h.served("v1")
			h.install("v2", tt.does)
			h.kill(keeper, unix.SIGUSR2)
			if tt.parked {
				h.await(fmt.Sprintf(`^worker %d told park`, worker))
				worker, _ = h.served("v1")
			} else {
				h.await(`upgrade failed`)
			}
			h.kill(keeper, unix.SIGUSR1)
			h.await(fmt.Sprintf(`^worker %d told report`, worker))
			h.open()
			h.install("v3", serves)
			h.kill(keeper, unix.SIGUSR2)
			h.upgraded("v3")
			h.stop(keeper)
		})
	}
	for name, program := range map[string]struct {
		bytes []byte
		perm  os.FileMode
	}{
		"not executable": {[]byte("text"), 0o600},
		"no program":     {[]byte("text"), 0o700},
		"cut short":      {[]byte("\x7fELF\x02\x01\x01"), 0o700},
	} {
		t.Run(name, func(t *testing.T) {
			h := start(t, serves)
			worker, keeper := h.served("v1")
			h.installBytes(program.bytes, program.perm)
			h.kill(keeper, unix.SIGUSR2)
			h.await(`upgrade failed.* why="exec `)
			h.kill(keeper, unix.SIGUSR1)
			h.await(fmt.Sprintf(`^worker %d told report`, worker))
			h.stop(keeper)
		})
	}
}

// A worker that is stopped or deaf is not waited for, and gone before the new one serves.
func TestIntegrationUpgradeOfHungWorker(t *testing.T) {
	t.Run("stopped", func(t *testing.T) {
		h := start(t, serves)
		worker, keeper := h.served("v1")
		h.install("v2", serves)
		h.kill(worker, unix.SIGSTOP)
		h.kill(keeper, unix.SIGUSR2)
		h.upgraded("v2")
		if _, alive := h.processes()[worker]; alive {
			t.Error("the stopped worker is still there")
		}
		h.stop(keeper)
	})
	t.Run("deaf", func(t *testing.T) {
		h := start(t, isDeaf)
		worker, keeper := h.served("v1")
		h.install("v2", serves)
		h.kill(keeper, unix.SIGUSR2)
		h.upgraded("v2")
		if _, alive := h.processes()[worker]; alive {
			t.Error("the deaf worker is still there")
		}
		h.stop(keeper)
	})
}

// A crash loop is a reason to upgrade.
func TestIntegrationUpgradeDuringOutage(t *testing.T) {
	h := start(t, crashes)
	keeper := number(h.await(`^keeper (\d+)`)[0])
	h.await(`could not serve`)
	h.install("v2", serves)
	h.kill(keeper, unix.SIGUSR2)
	h.upgraded("v2")
	h.stop(keeper)
}

// Killed while two workers live, it leaves one keeper, one worker and no doubt.
func TestIntegrationKeeperKilledInUpgrade(t *testing.T) {
	h := start(t, serves)
	worker, keeper := h.served("v1")
	h.install("v2", hangs)
	h.kill(keeper, unix.SIGUSR2)
	standby := number(h.await(`^worker (\d+) started program=v2`)[0])
	h.kill(keeper, unix.SIGKILL)
	h.main.Wait()
	_, keeper = h.served("v1")
	if keeper != worker {
		t.Errorf("the keeper is %d, want %d, the worker before", keeper, worker)
	}
	h.kill(standby, unix.SIGKILL) // this one hears nothing
	h.stop(keeper)
}

// Signals for reports come at any moment, and kill nobody.
func TestIntegrationReportsDuringUpgrades(t *testing.T) {
	h := start(t, serves)
	_, keeper := h.served("v1")
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			for pid := range h.processes() {
				unix.Kill(pid, unix.SIGUSR1)
			}
			select {
			case <-quit:
				return
			default:
			}
		}
	}()
	for i := 2; i < 12; i++ {
		version := fmt.Sprintf("v%d", i)
		h.install(version, serves)
		h.kill(keeper, unix.SIGUSR2)
		h.upgraded(version)
	}
	close(quit)
	<-done
	h.stop(keeper)
}
