//go:build !linux

package faults

import "errors"

// ErrNoMount is why there is no small disk.
var ErrNoMount = errors.New("a file system can be mounted on Linux only")

// Disk does not exist here.
type Disk struct{}

// NewDisk fails.
func NewDisk(string, int64) (*Disk, error) { return nil, ErrNoMount }

// Fill is never called.
func (*Disk) Fill() error { return ErrNoMount }

// Free is never called.
func (*Disk) Free() error { return ErrNoMount }

// Remove is never called.
func (*Disk) Remove() error { return ErrNoMount }
