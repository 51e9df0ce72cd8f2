package datagen

// The vocabulary of the made-up world. Order matters: a seed picks by index, so a change here changes every seeded run.

var shops = []string{
	"Forno Blu", "Luigi's Raft", "The Hot Quay", "Mozza & Sons", "Crust Harbour", "La Chiatta", "Dockside Slices",
	"Vesuv Express", "Tomato Pier", "Slow Dough", "Nonna's Landing", "Pizza Piroscafo",
}

var firstNames = []string{
	"Ada", "Bilal", "Chiara", "Dmitri", "Elif", "Femi", "Greta", "Hiro", "Ines", "Jonas", "Kaia", "Luca", "Mira", "Noor",
	"Oskar", "Priya", "Quentin", "Rosa", "Sven", "Tala", "Umar", "Vera", "Wanda", "Xenia", "Yusuf", "Zoë",
}

var lastNames = []string{
	"Almeida", "Brandt", "Costa", "Dubois", "Eriksen", "Fischer", "García", "Haddad", "Ivanova", "Jensen", "Kowalski",
	"Lindqvist", "Moreau", "Novák", "Okafor", "Papadakis", "Quist", "Rossi", "Sørensen", "Tanaka", "Ueda", "Virtanen",
	"Weiß", "Yılmaz", "Zieliński",
}

var streets = []string{
	"Anchor Lane", "Bridge Street", "Canal Row", "Dyke Road", "Eel Alley", "Ferry Gate", "Gull Close", "Harbour View",
	"Island Way", "Jetty Square", "Keel Street", "Lighthouse Road", "Mast Yard", "Narrow Quay",
}

var towns = []string{
	"Port Amble", "Westhaven", "Saltmouth", "Low Ferry", "Grayness", "Tidewell", "Sandholm", "Eastbank", "Stonehythe",
	"Millstrand",
}

var pizzas = []string{
	"Margherita", "Marinara", "Funghi", "Quattro Formaggi", "Capricciosa", "Diavola", "Ortolana", "Tonno", "Bufala",
	"Boscaiola", "Calzone", "Salsiccia", "Napoli", "Rucola",
}

var toppings = []string{
	"olives", "capers", "artichokes", "egg", "garlic", "rocket", "chili", "anchovies", "onions", "mushrooms", "spinach",
	"extra cheese", "basil", "peppers", "sweetcorn", "pineapple",
}

var sizes = []string{"small", "medium", "large", "family"}

var pages = []string{
	"/", "/menu", "/menu/pizza", "/menu/drinks", "/basket", "/checkout", "/orders", "/orders/track", "/account", "/offers",
	"/help", "/imprint",
}

var agents = []string{"firefox/140", "chrome/139", "safari/18", "app-ios/7.2", "app-android/7.1", "curl/8.5"}

var events = []string{"view", "view", "view", "click", "click", "scroll", "add", "remove", "search", "buy"}

var series = []struct{ name, unit string }{
	{"oven_temperature", "celsius"}, {"queue_length", "orders"}, {"delivery_time", "seconds"}, {"cpu_usage", "percent"},
	{"memory_used", "bytes"}, {"requests", "per_second"}, {"dough_left", "grams"}, {"fridge_temperature", "celsius"},
}

// filler pads values. Distinct words of usual length make it compress about as well as real text does.
var filler = []string{
	"about", "above", "after", "again", "along", "anchor", "answer", "around", "asked", "barge", "basin", "beacon", "bell",
	"below", "berth", "board", "bottom", "bound", "bridge", "bright", "broad", "brought", "cabin", "cable", "calm", "canal",
	"captain", "cargo", "carry", "chain", "chart", "clear", "close", "coast", "compass", "course", "cross", "crew", "current",
	"deck", "deep", "depart", "dock", "door", "down", "draft", "drift", "early", "east", "ebb", "engine", "every", "fair",
	"fast", "ferry", "few", "fleet", "float", "flood", "fog", "follow", "forward", "found", "freight", "from", "full", "gale",
	"gate", "glass", "good", "great", "green", "guard", "gull", "half", "harbour", "haul", "heavy", "helm", "high", "hold",
	"hook", "hour", "hull", "island", "jetty", "keel", "keep", "kind", "knot", "lamp", "land", "large", "late", "leave", "level",
	"light", "line", "load", "lock", "long", "look", "lower", "mast", "mate", "mid", "mile", "moor", "morning", "narrow", "near",
	"night", "north", "oar", "off", "often", "open", "order", "other", "over", "paint", "part", "pass", "pier", "pilot", "place",
	"plank", "point", "port", "pull", "quay", "quick", "quiet", "rain", "raise", "reach", "ready", "rest", "ride", "right",
	"river", "rope", "round", "rudder", "run", "safe", "sail", "salt", "sand", "sea", "shallow", "shelter", "shift", "ship",
	"shore", "short", "side", "signal", "slow", "small", "smoke", "soft", "sound", "south", "spray", "star", "steady", "steam",
	"steer", "stern", "still", "storm", "strait", "stream", "strong", "swell", "tall", "tide", "timber", "tow", "trade", "turn",
	"under", "vessel", "voyage", "wait", "wake", "warm", "watch", "water", "wave", "west", "wharf", "wheel", "white", "wide",
	"wind", "window", "winter", "wood", "work", "yard", "yellow",
}
