package faults

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// Disk is a small file system of its own in the place of a folder, in memory.
type Disk struct{ dir string }

// ErrNoMount is why there is no small disk: the system lets only its administrator mount one.
var ErrNoMount = errors.New("a file system cannot be mounted here")

// NewDisk puts a file system of so many bytes over dir, with what dir holds. Nobody may have files of dir open.
func NewDisk(dir string, size int64) (*Disk, error) {
	saved, err := os.MkdirTemp(filepath.Dir(dir), "saved-")
	if err != nil {
		return nil, fmt.Errorf("faults: %w", err)
	}
	defer func() { _ = os.RemoveAll(saved) }() // litter
	if err := copyAll(dir, saved); err != nil {
		return nil, err
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		return nil, fmt.Errorf("faults: %w: %w", ErrNoMount, err)
	}
	d := &Disk{dir: dir}
	if err := copyAll(saved, dir); err != nil {
		return nil, errors.Join(err, d.detach())
	}
	return d, nil
}

func (d *Disk) ballast() string { return filepath.Join(d.dir, "ballast") }

// Fill takes all room that is left.
func (d *Disk) Fill() error {
	f, err := os.OpenFile(d.ballast(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("faults: %w", err)
	}
	_, err = io.Copy(f, zeros{})
	if err = errors.Join(err, f.Close()); !errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("faults: the disk does not get full: %w", err)
	}
	return nil
}

// zeros never end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// Free gives the room back.
func (d *Disk) Free() error {
	if err := os.Remove(d.ballast()); err != nil {
		return fmt.Errorf("faults: %w", err)
	}
	return nil
}

// Remove takes the file system away and leaves what it holds in the folder. Nobody may have files of it open.
func (d *Disk) Remove() error {
	saved, err := os.MkdirTemp(filepath.Dir(d.dir), "saved-")
	if err != nil {
		return errors.Join(fmt.Errorf("faults: %w", err), d.detach())
	}
	defer func() { _ = os.RemoveAll(saved) }() // litter
	if err := errors.Join(copyAll(d.dir, saved), d.detach()); err != nil {
		return err
	}
	if err := os.RemoveAll(d.dir); err != nil {
		return fmt.Errorf("faults: %w", err)
	}
	return copyAll(saved, d.dir)
}

func (d *Disk) detach() error {
	if err := syscall.Unmount(d.dir, syscall.MNT_DETACH); err != nil {
		return fmt.Errorf("faults: unmount %s: %w", d.dir, err)
	}
	return nil
}

// copyAll copies what from holds; files with holes keep them, for an index of Kafka's is 10 MiB of nothing.
func copyAll(from, to string) error {
	out, err := exec.Command("cp", "-a", "--sparse=always", from+"/.", to).CombinedOutput() //nolint:gosec // paths of the test
	if err != nil {
		return fmt.Errorf("faults: copy %s: %w\n%s", from, err, out)
	}
	return nil
}
