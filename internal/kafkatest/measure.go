package kafkatest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// MM2Command is a MirrorMaker 2 of V4 for a program that measures it: a process that is not started, with mm2.properties of
// this content and the memory and the collector that connect-mirror-maker.sh gives it. Its files go to dir, which must exist.
func MM2Command(ctx context.Context, dir string, properties map[string]string) (*exec.Cmd, error) {
	if err := Available(); err != nil {
		return nil, fmt.Errorf("kafkatest: %w", err)
	}
	folder, err := jars(ctx, mirror)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "mm2.properties")
	if err := os.WriteFile(file, encodeProperties(properties), 0o600); err != nil {
		return nil, fmt.Errorf("kafkatest: %w", err)
	}
	const heapMB = 2048
	j := jvm{dir: dir, tmp: dir, jars: folder, heapMB: heapMB, bench: true}
	return j.command("mm2", []string{"-Xms256m", // after that of a broker: the last one counts
		"org.apache.kafka.connect.mirror.MirrorMaker", file})
}
