package kafkatest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// jvm says how a Java process runs.
type jvm struct {
	dir, tmp       string // the working folder, and the one for temporary files
	jars           string // folder with the class path
	heapMB         int
	bench          bool   // tuned for measuring
	archive        string // file to take loaded classes from, see archive; "" for none
	train          string // file to leave loaded classes in; "" for none
	stdout, stderr io.Writer
}

// start runs what args name: a class, or a .java file, and its arguments. They go
// through the file name.args, because everybody may read those of a process and
// some of ours are credentials.
func (j jvm) start(name string, args []string) (*process, error) {
	cmd, err := j.command(name, args)
	if err != nil {
		return nil, err
	}
	p, err := launch(cmd)
	if err != nil {
		return nil, fmt.Errorf("kafkatest: java: %w", err)
	}
	return p, nil
}

// command is what start starts.
func (j jvm) command(name string, args []string) (*exec.Cmd, error) {
	all := append(j.flags(), "-Djava.io.tmpdir="+j.tmp, "-cp", filepath.Join(j.jars, "*"))
	var text strings.Builder
	for _, a := range append(all, args...) {
		text.WriteString(quote(a) + "\n")
	}
	argFile := filepath.Join(j.dir, name+".args")
	if err := os.WriteFile(argFile, []byte(text.String()), 0o600); err != nil {
		return nil, fmt.Errorf("kafkatest: %w", err)
	}
	cmd := exec.Command("java", "@"+argFile)
	cmd.Dir, cmd.Stdout, cmd.Stderr = j.dir, j.stdout, j.stderr
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8") // Java reads its arguments, and prints, as the locale says
	return cmd, nil
}

func (j jvm) flags() []string {
	flags := []string{
		fmt.Sprintf("-Xmx%dm", j.heapMB),
		"-XX:-UsePerfData", // leaves no file in the system's temporary folder
		"-XX:+ExitOnOutOfMemoryError",
		"-Djava.net.preferIPv4Stack=true",
		"-Djava.awt.headless=true",
		"-Dorg.slf4j.simpleLogger.showDateTime=true",
		"-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
	}
	if j.bench { // as Kafka's scripts have it: a broker whose heap shrinks collects it every second
		return append(flags, "-server", fmt.Sprintf("-Xms%dm", j.heapMB), "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20",
			"-XX:InitiatingHeapOccupancyPercent=35", "-XX:+ExplicitGCInvokesConcurrent")
	}
	// The second compiler pays off only after minutes; until then it takes more
	// from the tests than it gives: without it a broker starts in 2/3 of the time
	// and stores its first million records with less than half of the CPU.
	flags = append(flags, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
	// Without what the JVM thinks of the classes that do not fit in: hundreds of lines in the broker's log.
	switch {
	case j.train != "":
		return append(flags, "-Xlog:disable", "-XX:ArchiveClassesAtExit="+j.train)
	case j.archive != "":
		return append(flags, "-Xlog:disable", "-Xshare:auto", "-XX:SharedArchiveFile="+j.archive)
	}
	return flags
}

// javaHeapMB is the heap of every JVM that is no broker.
const javaHeapMB = 512

// RunJava compiles and runs a Java program of one file, with the classes of Kafka, Connect and MirrorMaker 2 of V4, and
// returns what it prints. It must end with 0; what it logs is shown when it does not. The arguments may hold secrets.
// It skips and fails like Start, and also where javac is missing.
func RunJava(t testing.TB, file string, args ...string) string {
	t.Helper()
	Need(t, compiler)
	path, err := filepath.Abs(file)
	if err != nil {
		t.Fatal(err)
	}
	return runJava(t, append([]string{path}, args...))
}

// compiler tells whether Java programs can be compiled here.
func compiler() error {
	if _, err := exec.LookPath("javac"); err != nil {
		return errors.New("tests with Java programs need a JDK 17+, javac is not on PATH")
	}
	return nil
}

func runJava(t testing.TB, args []string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startLimit)
	defer cancel()
	var stdout, stderr bytes.Buffer
	j := mirrorJVM(t, &stdout, &stderr)
	p, err := j.start("run", args)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.wait(ctx); err != nil {
		t.Fatalf("java %s: %v\n%s\n%s", args[0], err, stdout.Bytes(), tail(stderr.Bytes()))
	}
	return stdout.String()
}

// mirrorJVM is a JVM with MirrorMaker 2's classes and a folder of its own.
func mirrorJVM(t testing.TB, stdout, stderr io.Writer) jvm {
	t.Helper()
	dir, err := jars(t.Context(), mirror)
	if err != nil {
		t.Fatal(err)
	}
	j := jvm{dir: t.TempDir(), jars: dir, heapMB: javaHeapMB, stdout: stdout, stderr: stderr}
	j.tmp = j.dir
	return j
}

// tools are Kafka's own programs that Tools gives, by the names that its scripts have.
var tools = map[string]string{
	"kafka-console-consumer.sh": "org.apache.kafka.tools.consumer.ConsoleConsumer",
	"kafka-console-producer.sh": "org.apache.kafka.tools.ConsoleProducer",
}

// Tools is a folder for the PATH with Kafka's console consumer and producer, of V4, under the names that its
// distribution gives them. It skips and fails like Start.
func Tools(t testing.TB) string {
	t.Helper()
	Need(t)
	j := mirrorJVM(t, nil, nil)
	for name, class := range tools {
		script := fmt.Sprintf("#!/bin/sh\nexec java %s -Dorg.slf4j.simpleLogger.defaultLogLevel=error -Djava.io.tmpdir=%s -cp '%s/*' %s \"$@\"\n", strings.Join(j.flags(), " "), j.tmp, j.jars, class)
		if err := os.WriteFile(filepath.Join(j.dir, name), []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return j.dir
}
