package kafkatest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

var errLocked = errors.New("locked by another process")

// lockFile creates path if need be and locks it until the file is closed or the
// process ends. Without wait it returns errLocked when somebody has the lock.
func lockFile(path string, wait bool) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("kafkatest: lock: %w", err)
	}
	how := syscall.LOCK_EX
	if !wait {
		how |= syscall.LOCK_NB
	}
	for {
		err = syscall.Flock(int(f.Fd()), how)
		switch {
		case err == nil:
			return f, nil
		case errors.Is(err, syscall.EINTR):
			continue
		}
		unlock(f)
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errLocked
		}
		return nil, fmt.Errorf("kafkatest: lock %s: %w", path, err)
	}
}

// unlock gives a lock back. Nothing was written, so closing has nothing to tell.
func unlock(f *os.File) { _ = f.Close() }

// discard removes path and what is below. What the system refuses to remove is
// only litter.
func discard(path string) { _ = os.RemoveAll(path) }

// runRoot is where clusters keep their data and port locks, one for each user.
func runRoot() (string, error) {
	dir := filepath.Join(os.TempDir(), "kferry-kafka-"+strconv.Itoa(os.Getuid()))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("kafkatest: %w", err)
	}
	return dir, nil
}

// newDir makes the folder of a cluster and returns with it the lock that marks
// it as alive. Folders of programs that died before they could clean up are
// removed: a killed test may have left gigabytes.
func newDir(root string) (dir string, alive *os.File, err error) {
	all, err := lockFile(filepath.Join(root, "dirs.lock"), true)
	if err != nil {
		return "", nil, err
	}
	defer unlock(all)
	olds, _ := filepath.Glob(filepath.Join(root, "cluster-*.alive"))
	for _, old := range olds {
		f, err := lockFile(old, false)
		if err != nil {
			continue
		}
		discard(strings.TrimSuffix(old, ".alive"))
		discard(old)
		unlock(f)
	}
	if dir, err = os.MkdirTemp(root, "cluster-"); err != nil {
		return "", nil, fmt.Errorf("kafkatest: %w", err)
	}
	if alive, err = lockFile(dir+".alive", false); err != nil {
		return "", nil, err
	}
	return dir, alive, nil
}

// Ports come from below the range that the kernel gives to outgoing
// connections: nothing takes the port of a killed broker before its restart.
const (
	firstPort = 20000
	lastPort  = 32000
)

// port is a TCP port of 127.0.0.1 that no other cluster of this user takes
// while held is open.
type port struct {
	number int
	held   *os.File
}

func (p port) addr() string { return "127.0.0.1:" + strconv.Itoa(p.number) }

func freePort(root string) (port, error) {
	for range 1000 {
		p := port{number: firstPort + rand.IntN(lastPort-firstPort)}
		f, err := lockFile(filepath.Join(root, "port-"+strconv.Itoa(p.number)+".lock"), false)
		if errors.Is(err, errLocked) {
			continue
		}
		if err != nil {
			return port{}, err
		}
		l, err := net.Listen("tcp4", p.addr())
		if err != nil {
			unlock(f)
			continue
		}
		if err := l.Close(); err != nil {
			unlock(f)
			return port{}, fmt.Errorf("kafkatest: port %d: %w", p.number, err)
		}
		p.held = f
		return p, nil
	}
	return port{}, fmt.Errorf("kafkatest: no free port between %d and %d", firstPort, lastPort)
}
