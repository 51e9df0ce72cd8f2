//go:build !hurry

package main

import "github.com/kferry/kferry/internal/aiven"

// aivenClock is how Aiven is waited for.
var aivenClock aiven.Clock = aiven.SystemClock{}
