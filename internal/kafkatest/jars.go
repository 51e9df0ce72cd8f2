package kafkatest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

//go:embed pom-*.xml
var poms embed.FS

// mavenLimit bounds one download of jars: 45 MB for a broker, 55 MB for the mirror.
const mavenLimit = 10 * time.Minute

// mirror has Connect and MirrorMaker 2 beside the broker; see jars.
const mirror = "mirror-" + V4

// jars returns the folder with the jars of a version, or of mirror, and fills it the first
// time. Test packages run side by side: the lock lets one of them download, the
// rename makes the folder appear complete or not at all.
func jars(ctx context.Context, version string) (string, error) {
	pom, err := poms.ReadFile("pom-" + version + ".xml")
	if err != nil {
		return "", fmt.Errorf("kafkatest: no pom for version %q", version)
	}
	root, err := cacheDir()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(pom)
	// A changed pom is another folder: nobody has to empty the cache.
	dir := filepath.Join(root, version, hex.EncodeToString(sum[:4]))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", fmt.Errorf("kafkatest: jar cache: %w (set KFERRY_KAFKA_CACHE to a folder that can be written)", err)
	}
	lock, err := lockFile(dir+".lock", true)
	if err != nil {
		return "", err
	}
	defer unlock(lock)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	return dir, download(ctx, pom, dir)
}

func cacheDir() (string, error) {
	if dir := os.Getenv("KFERRY_KAFKA_CACHE"); dir != "" {
		return dir, nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("kafkatest: no place for the jars: %w (set KFERRY_KAFKA_CACHE)", err)
	}
	return filepath.Join(dir, "kferry-kafka"), nil
}

// download resolves pom with Maven into dir, which must not exist.
func download(ctx context.Context, pom []byte, dir string) error {
	tmp, err := os.MkdirTemp(filepath.Dir(dir), "incoming-")
	if err != nil {
		return fmt.Errorf("kafkatest: jar cache: %w", err)
	}
	defer discard(tmp)
	pomFile := filepath.Join(tmp, "pom.xml")
	if err := os.WriteFile(pomFile, pom, 0o644); err != nil {
		return fmt.Errorf("kafkatest: jar cache: %w", err)
	}
	libs := filepath.Join(tmp, "libs")
	ctx, cancel := context.WithTimeout(ctx, mavenLimit)
	defer cancel()
	cmd := exec.Command("mvn", "-B", "-q", "-f", pomFile, "dependency:copy-dependencies",
		"-DincludeScope=runtime", "-DoutputDirectory="+libs)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	p, err := launch(cmd)
	if err != nil {
		return fmt.Errorf("kafkatest: mvn: %w", err)
	}
	if err := p.wait(ctx); err != nil {
		return fmt.Errorf("kafkatest: mvn could not get the jars: %w\n%s", err, tail(out.Bytes()))
	}
	if err := os.Rename(libs, dir); err != nil {
		return fmt.Errorf("kafkatest: jar cache: %w", err)
	}
	return nil
}
