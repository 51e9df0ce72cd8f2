package main

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
)

// generator makes JSON orders that zstd shrinks to about a fifth, as it does with real ones.
type generator struct{ rng *rand.Rand }

var (
	people = strings.Fields("Ada Alan Barbara Claude Dennis Donald Edsger Frances Grace Hedy John Katherine Ken Leslie Linus Margaret Niklaus Radia Rob Tim")
	towns  = strings.Fields("Aarhus Bergen Gdansk Ghent Graz Helsinki Leeds Lisbon Lyon Malmo Napoli Porto Riga Tartu Turin Uppsala Vilnius Zagreb")
	pizzas = strings.Fields("Margherita Marinara Diavola Capricciosa Quattro-Formaggi Prosciutto Funghi Napoletana Bufalina Ortolana Calzone Tonno")
	extras = strings.Fields("anchovies artichokes aubergine bacon basil capers chilli corn egg garlic gorgonzola ham jalapenos leek mozzarella mushrooms olives onions oregano parmesan peppers pineapple rocket salami spinach tomatoes truffle tuna")
	remark = strings.Fields("please ring twice leave it at the door with neighbour extra hot no cutlery thank you second floor left call when here the dog is friendly cash only keep change happy birthday well done not too crispy cut in eight slices")
)

func (g *generator) one(list []string) string { return list[g.rng.IntN(len(list))] }

// leastOrder is the least size of an order.
const leastOrder = 600

// value is a JSON object of exactly size bytes, at least 60: an order, or where there is no room for one a measurement.
func (g *generator) value(size int, id int64) []byte {
	if size >= leastOrder {
		return g.order(size, id)
	}
	b := fmt.Appendf(make([]byte, 0, size+8), `{"id":%d,"oven":"%s","celsius":%d,"note":"`, id, g.one(towns), 200+g.rng.IntN(200))
	b = append(b, g.one(remark)...)
	for len(b) < size-2 {
		b = append(b, '.')
	}
	return append(b[:size-2], `"}`...)
}

// order is a JSON object of exactly size bytes, at least 600.
func (g *generator) order(size int, id int64) []byte {
	b := make([]byte, 0, size+64)
	b = append(b, `{"order_id":"`...)
	b = strconv.AppendInt(b, id, 10)
	b = append(b, `","trace_id":"`...)
	var trace [16]byte
	for i := range trace {
		trace[i] = byte(g.rng.Uint32())
	}
	b = hex.AppendEncode(b, trace[:])
	b = append(b, `","customer":{"id":`...)
	b = strconv.AppendInt(b, int64(g.rng.IntN(1_000_000)), 10)
	b = append(b, `,"name":"`+g.one(people)+` `+g.one(people)+`","city":"`+g.one(towns)+`","verified":true},"items":[`...)
	const itemBytes, tail = 130, 40 // what one more item may take, and what must stay for the note
	for n := 0; n == 0 || len(b) < size*7/10-itemBytes; n++ {
		if n > 0 {
			b = append(b, ',')
		}
		b = g.item(b)
	}
	b = append(b, `],"currency":"EUR","status":"created","note":"`...)
	for len(b) < size-tail {
		b = append(b, g.one(remark)...)
		b = append(b, ' ')
	}
	for len(b) < size-2 {
		b = append(b, '.')
	}
	return append(b, `"}`...)
}

func (g *generator) item(b []byte) []byte {
	b = append(b, `{"pizza":"`+g.one(pizzas)+`","quantity":`...)
	b = strconv.AppendInt(b, int64(1+g.rng.IntN(4)), 10)
	b = append(b, `,"price_cents":`...)
	b = strconv.AppendInt(b, int64(700+g.rng.IntN(1200)), 10)
	return append(b, `,"extras":["`+g.one(extras)+`","`+g.one(extras)+`"]}`...)
}
