package datagen

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strconv"
)

// Subject is what the records are about.
type Subject string

// The subjects. Each has keys that repeat, so that order per key can be seen.
const (
	Pizza   Subject = "pizza"   // orders of a pizza delivery, keyed by customer; about 450 bytes
	Clicks  Subject = "clicks"  // events on its web shop, keyed by session; about 200 bytes
	Metrics Subject = "metrics" // measurements in its kitchens, keyed by series; about 130 bytes
)

// Header is one record header.
type Header struct {
	Key   string
	Value []byte
}

// Record is one record without its place and time.
type Record struct {
	Key, Value []byte
	Headers    []Header
}

// Generator makes records. The same subject, seed and size give the same records in the same order, on any machine:
// values hold no clock. It is for one goroutine.
type Generator struct {
	rng     *rand.Rand
	fill    func(*Generator)
	size    int
	n       int64 // number of the next record
	key     []byte
	value   []byte
	trace   [16]byte
	traceID [32]byte
	headers []Header
}

// NewGenerator makes a generator of records about subject. Values are padded, or cut, to size bytes;
// 0 leaves them as they come. A cut value is no valid JSON any more.
func NewGenerator(subject Subject, seed uint64, size int) (*Generator, error) {
	fills := map[Subject]func(*Generator){Pizza: (*Generator).pizza, Clicks: (*Generator).click, Metrics: (*Generator).metric}
	fill, ok := fills[subject]
	if !ok {
		return nil, fmt.Errorf("subject %q: must be %s, %s or %s", subject, Pizza, Clicks, Metrics)
	}
	if size < 0 {
		return nil, fmt.Errorf("size %d: must be 0 or more bytes", size)
	}
	g := &Generator{rng: rand.New(rand.NewPCG(seed, seed^0x9e3779b97f4a7c15)), fill: fill, size: size}
	g.headers = []Header{
		{"content-type", []byte("application/json")},
		{"trace-id", g.traceID[:]},
		{"subject", []byte(subject)},
	}
	return g, nil
}

// Next makes the next record. What it returns is valid until the next call.
func (g *Generator) Next() Record {
	g.key, g.value = g.key[:0], g.value[:0]
	g.fill(g)
	g.resize()
	for i := 0; i < len(g.trace); i += 8 {
		x := g.rng.Uint64()
		for j := range 8 {
			g.trace[i+j] = byte(x >> (8 * j))
		}
	}
	hex.Encode(g.traceID[:], g.trace[:])
	g.n++
	return Record{Key: g.key, Value: g.value, Headers: g.headers}
}

// resize brings the value to g.size: it cuts, or puts a note of plain words before the closing brace.
func (g *Generator) resize() {
	const open, end = `,"note":"`, `"}`
	switch {
	case g.size == 0 || len(g.value) == g.size:
		return
	case len(g.value) > g.size:
		g.value = g.value[:g.size]
		return
	case len(g.value)-1+len(open)+len(end) > g.size:
		return // too close for a note: about the size
	}
	g.value = append(g.value[:len(g.value)-1], open...)
	for len(g.value)+len(end) < g.size {
		g.value = append(g.value, filler[g.rng.IntN(len(filler))]...)
		g.value = append(g.value, ' ')
	}
	g.value = append(g.value[:g.size-len(end)], end...)
}

func (g *Generator) pick(list []string) string { return list[g.rng.IntN(len(list))] }

// str appends a JSON string field. The words of this package need no escapes.
func (g *Generator) str(name string, parts ...string) {
	g.field(name)
	g.value = append(g.value, '"')
	for _, p := range parts {
		g.value = append(g.value, p...)
	}
	g.value = append(g.value, '"')
}

func (g *Generator) num(name string, n int64) {
	g.field(name)
	g.value = strconv.AppendInt(g.value, n, 10)
}

// cents appends an amount in hundredths as a decimal number.
func (g *Generator) cents(name string, n int64) {
	g.field(name)
	g.value = strconv.AppendInt(g.value, n/100, 10)
	g.value = append(g.value, '.', byte('0'+n/10%10), byte('0'+n%10))
}

// field begins a field: the comma, unless an object was just opened, and the name.
func (g *Generator) field(name string) {
	if last := g.value[len(g.value)-1]; last != '{' {
		g.value = append(g.value, ',')
	}
	g.value = append(g.value, '"')
	g.value = append(g.value, name...)
	g.value = append(g.value, '"', ':')
}

func (g *Generator) pizza() {
	customer := g.rng.Int64N(5000)
	// Name and address belong to the customer, so they come from the number and not from the dice.
	first, last := firstNames[customer%int64(len(firstNames))], lastNames[customer/7%int64(len(lastNames))]
	g.key = strconv.AppendInt(append(g.key, "customer-"...), customer, 10)

	g.value = append(g.value, '{')
	g.num("order", g.n+1)
	g.str("shop", g.pick(shops))
	g.num("customer", customer)
	g.str("name", first, " ", last)
	g.str("phone", "+00 55 ", strconv.FormatInt(100000+customer*137%900000, 10))
	g.str("address", strconv.FormatInt(1+customer%180, 10), " ", streets[customer%int64(len(streets))], ", ",
		towns[customer/3%int64(len(towns))])
	g.field("pizzas")
	g.value = append(g.value, '[')
	var total int64
	for i := range 1 + g.rng.IntN(4) {
		if i > 0 {
			g.value = append(g.value, ',')
		}
		total += g.onePizza()
	}
	g.value = append(g.value, ']')
	g.cents("price", total)
	g.str("currency", "EUR")
	g.value = append(g.value, '}')
}

// onePizza appends one pizza and returns its price in cents.
func (g *Generator) onePizza() int64 {
	kind, size := g.rng.IntN(len(pizzas)), g.rng.IntN(len(sizes))
	price := 690 + int64(kind)*35 + int64(size)*240
	g.value = append(g.value, '{')
	g.str("pizza", pizzas[kind])
	g.str("size", sizes[size])
	g.field("toppings")
	g.value = append(g.value, '[')
	for i := range g.rng.IntN(4) {
		if i > 0 {
			g.value = append(g.value, ',')
		}
		g.value = append(g.value, '"')
		g.value = append(g.value, g.pick(toppings)...)
		g.value = append(g.value, '"')
		price += 110
	}
	g.value = append(g.value, ']')
	g.cents("price", price)
	g.value = append(g.value, '}')
	return price
}

func (g *Generator) click() {
	session := g.rng.Int64N(20000)
	g.key = strconv.AppendInt(append(g.key, "session-"...), session, 10)
	g.value = append(g.value, '{')
	g.num("event", g.n+1)
	g.num("session", session)
	g.str("type", g.pick(events))
	g.str("page", g.pick(pages))
	g.str("referrer", g.pick(pages))
	g.str("agent", agents[session%int64(len(agents))])
	g.field("at")
	g.value = append(g.value, '{')
	g.num("x", g.rng.Int64N(1920))
	g.num("y", g.rng.Int64N(6000))
	g.value = append(g.value, '}')
	g.num("dwell_ms", g.rng.Int64N(90000))
	g.value = append(g.value, '}')
}

func (g *Generator) metric() {
	s, shop := series[g.rng.IntN(len(series))], g.rng.IntN(len(shops))
	g.key = append(append(append(g.key, s.name...), '@'), strconv.Itoa(shop)...)
	g.value = append(g.value, '{')
	g.num("sample", g.n+1)
	g.str("metric", s.name)
	g.str("unit", s.unit)
	g.str("shop", shops[shop])
	g.cents("value", g.rng.Int64N(1_000_000))
	g.value = append(g.value, '}')
}
