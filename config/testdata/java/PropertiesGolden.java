import java.io.ByteArrayInputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import java.util.Random;
import java.util.TreeMap;

/**
 * Writes properties.golden.jsonl: what java.util.Properties makes of files, one JSON object a line with the file (a
 * character for each byte) and its entries, or null where load throws. Run it in this folder:
 * java PropertiesGolden.java > ../properties.golden.jsonl
 */
public class PropertiesGolden {
    public static void main(String[] args) throws Exception {
        List<String> files = new ArrayList<>(List.of(
            "", "\n\r\n \t\f\n", "a=b", "a:b", "a b", "a\tb", "a\fb", "a", "=b", ":b", "a=", "a = b ", "a : b", "a  =  = b", "a::b", "a =: b",
            "a\\=b=c", "a\\:b:c", "a\\ b c", "a\\\\=b", "a\\\\\\=b=c", "# a=b", "! a=b", "  # a=b\n  ! a=b\nc=d", "a=b # c", "a=b ! c", "a=#b", "#a=b\\\nc=d",
            "a=b\\\nc", "a=b\\\n   c", "a=b\\\r\n\t\fc", "a=b\\\rc", "a=b\\\n\nc=d", "a=b\\\\\nc=d", "a=b\\\\\\\nc=d", "a=b\\", "a\\", "\\", "\\\n", "\\\n\n", "\\\n#a=b\nc=d",
            "\\\na=b", "\\\n  \\\na=b", "a=b\\\n#c\nd=e", "a=b\\\n!c", "a=\\\n\\\n\\\nb", "a\\\nb=c", "a\\\n=c", "a=\\t\\n\\r\\f\\b\\x\\\"\\'", "a=\\u0041\\u00e9\\u20ac",
            "a=\\ud83d\\ude00", "a=\\ud83d", "a=\\u", "a=\\u12", "a=\\u12g4", "a=\\u+123", "a=\\U0041", "a=\\\\u0041", "\\u0061=\\u003d", "a=\u00e9\u00ff\u0080", "\u00c3\u00a9=\u00c3\u00a9",
            "a=1\na=2", "a=b\rc=d\r\ne=f\n\rg=h", "a=b \\\n  c , d \\\n  , e", "us-west->us-east.enabled = true   # replicate", "a->b.topics = foo\\\\.bar, x{1,3}",
            "sasl.jaas.config=org.example.ScramLoginModule required \\\n  username=\"alice\" \\\n  password=\"a\\\\\\\"b\";", "a = ${file:/path/x.properties:key}", "a=b\0c"));
        String[] parts = {"a", "b", "=", ":", " ", "\t", "\f", "\n", "\r", "\r\n", "\\", "\\", "\\", "#", "!", "\\u0042", "\u00e9"};
        Random random = new Random(1);
        for (int i = 0; i < 500; i++) {
            StringBuilder b = new StringBuilder();
            for (int n = random.nextInt(14); n >= 0; n--)
                b.append(parts[random.nextInt(parts.length)]);
            files.add(b.toString());
        }
        for (String file : files)
            System.out.println("{\"file\":" + json(file) + ",\"entries\":" + load(file) + "}");
    }

    static String load(String file) throws Exception {
        Properties p = new Properties();
        try {
            p.load(new ByteArrayInputStream(file.getBytes(StandardCharsets.ISO_8859_1)));
        } catch (IllegalArgumentException e) {
            return "null";
        }
        StringBuilder b = new StringBuilder("{");
        new TreeMap<>(p).forEach((k, v) -> b.append(b.length() > 1 ? "," : "").append(json((String) k)).append(":").append(json((String) v)));
        return b + "}";
    }

    static String json(String s) {
        StringBuilder b = new StringBuilder("\"");
        for (char c : s.toCharArray())
            b.append(c < ' ' || c > '~' || c == '"' || c == '\\' ? String.format("\\u%04x", (int) c) : String.valueOf(c));
        return b.append('"').toString();
    }
}
