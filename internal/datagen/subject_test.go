package datagen

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"
)

func generator(t testing.TB, s Subject, seed uint64, size int) *Generator {
	t.Helper()
	g, err := NewGenerator(s, seed, size)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// digest is one number for the next n records of g.
func digest(g *Generator, n int) string {
	h := sha256.New()
	for range n {
		r := g.Next()
		for _, p := range [][]byte{r.Key, r.Value} {
			h.Write(p)
			h.Write([]byte{0})
		}
		for _, x := range r.Headers {
			h.Write([]byte(x.Key))
			h.Write(x.Value)
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// TestSeedIsStable: what a seed means never changes by accident, for people compare runs of different versions.
func TestSeedIsStable(t *testing.T) {
	for s, want := range map[Subject]string{
		Pizza: "8a8f10c521d18715", Clicks: "b0ff486bc1750fd6", Metrics: "32d77d3f44ebdb07",
	} {
		a, b := digest(generator(t, s, 7, 0), 1000), digest(generator(t, s, 7, 0), 1000)
		if a != b {
			t.Errorf("%s: the same seed gave %s and %s", s, a, b)
		}
		if other := digest(generator(t, s, 8, 0), 1000); other == a {
			t.Errorf("%s: seeds 7 and 8 give the same records", s)
		}
		if a != want {
			t.Errorf("%s: seed 7 gives %s, want %s", s, a, want)
		}
	}
}

func TestRecordsAreRealistic(t *testing.T) {
	for _, s := range []Subject{Pizza, Clicks, Metrics} {
		g := generator(t, s, 1, 0)
		keys, total := map[string]int{}, 0
		const n = 3000
		for range n {
			r := g.Next()
			var v map[string]any
			if err := json.Unmarshal(r.Value, &v); err != nil {
				t.Fatalf("%s: %v: %s", s, err, r.Value)
			}
			keys[string(r.Key)]++
			total += len(r.Value)
			if len(r.Headers) != 3 || string(r.Headers[0].Value) != "application/json" || len(r.Headers[1].Value) != 32 {
				t.Fatalf("%s: headers %q", s, r.Headers)
			}
			if s == Pizza {
				checkOrder(t, v)
			}
		}
		if len(keys) < 50 || len(keys) == n {
			t.Errorf("%s: %d keys in %d records; keys must differ and repeat", s, len(keys), n)
		}
		t.Logf("%s: %d bytes on average, %d keys", s, total/n, len(keys))
	}
}

// checkOrder: the price of an order is the sum of its pizzas.
func checkOrder(t *testing.T, v map[string]any) {
	t.Helper()
	list := v["pizzas"].([]any)
	if len(list) == 0 {
		t.Fatal("an order without a pizza")
	}
	var sum float64
	for _, p := range list {
		sum += p.(map[string]any)["price"].(float64)
	}
	if d := sum - v["price"].(float64); d > 0.001 || d < -0.001 {
		t.Fatalf("price %v, pizzas cost %v", v["price"], sum)
	}
	for _, k := range []string{"shop", "name", "phone", "address", "currency"} {
		if v[k] == "" {
			t.Fatalf("no %s", k)
		}
	}
}

func TestSize(t *testing.T) {
	for _, size := range []int{1, 50, 400, 1000, 1024, 100_000} {
		g := generator(t, Pizza, 3, size)
		padded := 0
		for range 200 {
			v := g.Next().Value
			if len(v) != size {
				// Only a value that leaves no room for a note stays as it came.
				if len(v) > size || size-len(v) > 12 {
					t.Fatalf("size %d: got %d", size, len(v))
				}
			}
			if strings.Contains(string(v), `"note":"`) {
				padded++
				if !json.Valid(v) {
					t.Fatalf("padded value is no JSON: %s", v)
				}
			}
		}
		if size >= 1000 && padded < 100 {
			t.Errorf("size %d: only %d of 200 were padded", size, padded)
		}
	}
}

func TestGeneratorRefuses(t *testing.T) {
	if _, err := NewGenerator("sushi", 0, 0); err == nil || !strings.Contains(err.Error(), "pizza, clicks or metrics") {
		t.Errorf("got %v", err)
	}
	if _, err := NewGenerator(Pizza, 0, -1); err == nil || !strings.Contains(err.Error(), "-1") {
		t.Errorf("got %v", err)
	}
}

func BenchmarkGenerator(b *testing.B) {
	for _, s := range []Subject{Pizza, Clicks, Metrics} {
		b.Run(string(s), func(b *testing.B) {
			g := generator(b, s, 1, 1024)
			b.SetBytes(1024)
			b.ReportAllocs()
			for b.Loop() {
				g.Next()
			}
		})
	}
}
