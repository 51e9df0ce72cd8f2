package main

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestHealth(t *testing.T) {
	defer goleak.VerifyNone(t)
	t.Run("", func(t *testing.T) { // its clean-up ends before the check for leaks
		well := served(t, new(fakeDaemon))
		starting := served(t, &fakeDaemon{ready: errors.New("flow \"a-b\" is still\nstarting\x1b[31m")})
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		free := ln.Addr().String()
		ln.Close()
		other := httptest.NewServer(http.NotFoundHandler())
		defer other.Close()
		conf := file(t, "k.yaml", strings.Replace(twoClusters, "127.0.0.1:0", strings.TrimPrefix(well, "http://"), 1))
		for _, c := range []struct {
			args           string
			code           int
			stdout, stderr string
		}{
			{"--url " + well, 0, well + ": ready\n", ""},
			{"-c " + conf, 0, well + ": ready\n", ""},
			{"--live --url " + well, 0, well + ": ok\n", ""},
			{"--url " + starting, 1, "", `not ready: flow "a-b" is still starting?[31m`},
			{"--live --url " + starting, 0, ": ok\n", ""},
			{"--url " + well + " --url " + starting, 1, well + ": ready\n", starting + ": not ready"},
			{"--url http://" + free, 1, "", `is "kferry run" running there?`},
			{"--url " + other.URL, 1, "", "it is no kferry"},
			{"--url nowhere", 2, "", "must be http://host:port"},
			{"--url " + well + " now", 2, "", "takes no arguments"},
			{"-c missing.yaml", 3, "", "missing.yaml"},
		} {
			code, stdout, stderr := kferry(t, append([]string{"health"}, strings.Fields(c.args)...)...)
			if code != c.code || !strings.Contains(stdout, c.stdout) || !strings.Contains(stderr, c.stderr) || (c.stdout == "") != (stdout == "") {
				t.Errorf("kferry health %s: exit code %d, want %d\n%s%s", c.args, code, c.code, stdout, stderr)
			}
		}
	})
}
