package main

import (
	"math"
	"strings"
	"testing"
)

func TestKindOf(t *testing.T) {
	for stack, want := range map[string]string{
		"runtime.main;main.main;hash/crc32.castagnoliSSE42Triple":                                    "checksums",
		"main.main;net.(*conn).Write;internal/runtime/syscall/linux.Syscall6":                        "system calls",
		"main.main;main.copyAll;runtime.memmove":                                                     "copying",
		"main.main;runtime.mallocgc;runtime.memclrNoHeapPointers":                                    "clearing",
		"runtime.gcBgMarkWorker;runtime.gcDrain;runtime.scanobject":                                  "garbage",
		"main.main;github.com/klauspost/compress/zstd.(*Encoder).EncodeAll;runtime.memmove":          "codec",
		"runtime.mcall;runtime.findRunnable":                                                         "scheduling and allocating",
		"main.main;github.com/kferry/kferry/replicator/lane.(*Lane).Put":                             "its own code",
		"java/lang/Thread.run;java/util/zip/CRC32C.updateBytes":                                      "checksums",
		"start_thread;CompileBroker::compiler_thread_loop;PhaseChaitin::Split":                       "compiling",
		"start_thread;WorkerThread::run;G1ParScanThreadState::trim_queue_to_threshold":               "garbage",
		"java/lang/Thread.run;sun/nio/ch/FileDispatcherImpl.transferTo0;sendfile64":                  "system calls",
		"java/lang/Thread.run;com/github/luben/zstd/ZstdInputStream.read;/tmp/libzstd-jni.so":        "codec",
		"java/lang/Thread.run;kafka/server/KafkaApis.handleProduceRequest;jbyte_disjoint_arraycopy":  "copying",
		"java/lang/Thread.run;kafka/server/KafkaApis.handleProduceRequest;java/util/HashMap.getNode": "its own code",
		"java/lang/Thread.run;sun/nio/ch/SocketChannelImpl.write;__memset_avx512_unaligned_erms":     "clearing",
	} {
		if got := kindOf(stack); got != want {
			t.Errorf("%s is of kind %q, want %q", stack, got, want)
		}
	}
}

// The shares of a process are all of its time, and functions are put together over the stacks that end with them.
func TestProfileTable(t *testing.T) {
	p := stacks{"a;runtime.memmove": 6, "b;runtime.memmove": 1, "a;b": 3}.profile()
	if math.Abs(p.Shares["copying"]-0.7) > 1e-9 || math.Abs(p.Shares[otherKind]-0.3) > 1e-9 || len(p.Shares) != 2 {
		t.Errorf("shares %v", p.Shares)
	}
	if len(p.Top) != 2 || p.Top[0] != (Function{"runtime.memmove", 0.7}) || p.Top[1].Name != "b" {
		t.Errorf("top %v", p.Top)
	}
	p.Workload, p.Contestant, p.Process = "zstd", "kferry", "contestant"
	table := Results{Profiles: []Profile{p}}.profileTable()
	if len(table.rows) != 2 || len(table.rows[0]) != len(table.rows[1]) || !strings.Contains(strings.Join(table.rows[1], " "), "runtime.memmove 70, b 30") {
		t.Errorf("table %q", table.rows)
	}
}
