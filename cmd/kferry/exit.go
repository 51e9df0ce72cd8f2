package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/internal/aiven"
	"github.com/kferry/kferry/internal/kafka"
)

// Exit codes. Scripts and supervisors read them: they never change their meaning.
const (
	exitOK      = 0
	exitFailure = 1 // unexpected
	exitUsage   = 2
	exitConfig  = 3
	exitConnect = 4
	exitForced  = 5
	exitUnwell  = 6
	exitTodo    = 7
)

// usageError is a command line that kferry does not understand.
type usageError struct{ error }

func (u usageError) Unwrap() error { return u.error }

// errForced is the end of a stop that took too long.
var errForced = errors.New("stopped by force")

// exitCode maps the error of a command line to the code of the process.
func exitCode(err error) int {
	var (
		usage   usageError
		began   started
		invalid config.Error
		list    config.Errors
		broker  *kafka.Error
		refused *aiven.Error
	)
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage):
		return exitUsage
	case !errors.As(err, &began):
		return exitUsage // cobra found no command to start
	case errors.Is(err, errForced):
		return exitForced
	case errors.Is(err, errUnhealthy):
		return exitUnwell
	case errors.Is(err, errTodo):
		return exitTodo
	case errors.As(err, &list), errors.As(err, &invalid):
		return exitConfig
	case errors.As(err, &broker) && broker.Fatal, errors.As(err, &refused) && refused.Lasting:
		return exitConnect
	default:
		return exitFailure
	}
}

// newExitCodesTopic is a help topic: a command that cannot be run.
func newExitCodesTopic() *cobra.Command {
	return &cobra.Command{
		Use:   "exit-codes",
		Short: "What the exit codes mean",
		Long: `kferry ends with one of these codes:

  0  clean: done, or stopped as asked (SIGINT, SIGTERM) with all progress stored
  1  unexpected: the message on stderr says what failed
  2  wrong use: unknown command, flag or argument; nothing was done
  3  the configuration is invalid: every problem is listed; nothing was done
  4  a cluster, or Aiven, refuses for a reason that does not heal by itself: wrong password,
     unknown certificate authority, a mechanism that the broker does not offer,
     an expired token, a missing right. Starting again changes nothing; a person has to act.
     (A broker that is down is no reason to end: kferry run waits for it.)
  5  stopped by force: a second signal, or the drain took longer than
     --drain-timeout. Nothing is lost and nothing will be twice: the next start
     finds out from the target how far it was
  6  "kferry status" got its answer, and it is that something keeps records from
     being carried: the output says what. (If nobody answers, it is 1.) The same
     for "kferry aiven status"; and for "kferry aiven topics" and its like,
     something at Aiven is not as at the source
  7  "kferry aiven plan", or another of those commands with --dry-run, found
     something to do, and did nothing

Supervisors should start kferry again after 1 and 5, and not after 2, 3 and 4.`,
	}
}
