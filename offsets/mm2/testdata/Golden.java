import java.lang.reflect.Method;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.producer.internals.BuiltInPartitioner;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.connect.json.JsonConverter;
import org.apache.kafka.connect.mirror.Checkpoint;
import org.apache.kafka.connect.mirror.DefaultReplicationPolicy;
import org.apache.kafka.connect.mirror.Heartbeat;
import org.apache.kafka.connect.mirror.IdentityReplicationPolicy;
import org.apache.kafka.connect.mirror.OffsetSync;

/**
 * Prints what MirrorMaker 2's own classes make of some records, keys and names, as golden.txt has it: one thing a line,
 * fields separated by blanks, strings URL-encoded in quotes, bytes in hex, "-" for null.
 */
class Golden {
    static final String[] STRINGS = {
        "", "t", "topic-1", "a.b_c-d", "g/>'\"\\ \t\n\r\f\b\u0000\u0001\u001f\u007f", "gr\u00fc\u00dfe \u0436\u4e2d\u2028\ufffd\ud83d\ude00",
        "x".repeat(249), "\u00e9\"\n".repeat(400) + "\ud83d\ude00",
    };
    static final long[] OFFSETS = {0, 1, 4, 255, 1234567890123L, Long.MAX_VALUE, -1};

    public static void main(String[] args) throws Exception {
        for (String s : STRINGS) {
            records(s, 4);
            sourceKey("MirrorSourceConnector", "A", 7, s);
            sourceKey(s, s, Integer.MAX_VALUE, "t");
        }
        sourceKey("MirrorSourceConnector", "A", 7, "foo");
        sourceKey("MirrorSourceConnector", "primary", 0, "test-topic-1");
        sourceKey("A->B.MirrorSourceConnector", "A", 24, "orders");
        for (long offset : OFFSETS) {
            records("t", offset);
            position(offset);
        }
        names();
    }

    static void records(String s, long offset) throws Exception {
        OffsetSync sync = new OffsetSync(new TopicPartition(s, 2), offset, offset / 2);
        line("sync", quote(s), 2, offset, offset / 2, record(sync, "recordKey"), record(sync, "recordValue"));
        Checkpoint point = new Checkpoint(s, new TopicPartition("A." + s, 3), offset, offset / 2, s);
        line("checkpoint", quote(s), quote("A." + s), 3, offset, offset / 2, quote(s), record(point, "recordKey"), record(point, "recordValue"));
        Heartbeat beat = new Heartbeat(s, "B", offset);
        line("heartbeat", quote(s), quote("B"), offset, record(beat, "recordKey"), record(beat, "recordValue"));
    }

    static byte[] record(Object o, String method) throws Exception {
        Method m = o.getClass().getDeclaredMethod(method);
        m.setAccessible(true);
        return (byte[]) m.invoke(o);
    }

    /** The key as Connect's OffsetStorageWriter makes it of what MirrorSourceTask gives it. */
    static void sourceKey(String connector, String cluster, int partition, String topic) throws Exception {
        Method wrap = utils("wrapPartition", TopicPartition.class, String.class);
        Object where = wrap.invoke(null, new TopicPartition(topic, partition), cluster);
        byte[] key = json(true, Arrays.asList(connector, where));
        line("key", quote(connector), quote(cluster), partition, quote(topic), text(key), BuiltInPartitioner.partitionForKey(key, 25));
    }

    /** The value that Connect stores, and what MirrorSourceTask reads out of it. */
    static void position(long offset) throws Exception {
        Object wrapped = utils("wrapOffset", long.class).invoke(null, offset);
        line("position", offset, text(json(false, wrapped)), utils("unwrapOffset", Map.class).invoke(null, wrapped));
    }

    static Method utils(String name, Class<?>... parameters) throws Exception {
        Method m = Class.forName("org.apache.kafka.connect.mirror.MirrorUtils").getDeclaredMethod(name, parameters);
        m.setAccessible(true);
        return m;
    }

    static byte[] json(boolean key, Object value) {
        try (JsonConverter c = new JsonConverter()) {
            c.configure(Map.of("schemas.enable", "false"), key);
            return c.fromConnectData("", null, value);
        }
    }

    static void names() {
        for (String separator : List.of(".", "__", "-")) {
            for (boolean dots : List.of(false, true)) {
                for (boolean identity : List.of(false, true)) {
                    DefaultReplicationPolicy p = identity ? new IdentityReplicationPolicy() : new DefaultReplicationPolicy();
                    p.configure(new HashMap<>(Map.of("replication.policy.separator", separator,
                        "replication.policy.internal.topic.separator.enabled", String.valueOf(!dots), "source.cluster.alias", "A")));
                    names(separator, dots, identity, p);
                }
            }
        }
    }

    static void names(String separator, boolean dots, boolean identity, DefaultReplicationPolicy p) {
        line("flow", quote(separator), dots, identity, quote(p.offsetSyncsTopic("B")), quote(p.offsetSyncsTopic("A")),
            quote(p.checkpointsTopic("A")), quote(p.heartbeatsTopic()), quote(p.formatRemoteTopic("A", p.heartbeatsTopic())));
        for (String plain : new String[] {
            "t", "A.t", "B.A.t", "a.", "a..", "a..b", ".a", ".", "..", "heartbeats", "A.heartbeats", "B.A.heartbeats", ".heartbeats",
            "myheartbeats", "A.myheartbeats", "heartbeats.", "checkpoints.internal", "A.checkpoints.internal", "B.A.checkpoints.internal",
            "mm2.internal", "mm2.x.internal", "mm2-offset-syncs.B.internal", "mm2-offsets.A.internal", "mm2internal", "xmm2.internal",
            "x.internal", "__consumer_offsets", "_schemas", "___", ".hidden", "connect-offsets",
        }) {
            for (String topic : plain.contains(".") && !separator.equals(".") ? List.of(plain, plain.replace(".", separator)) : List.of(plain)) {
                line("name", quote(separator), dots, identity, quote(topic), quote(p.formatRemoteTopic("A", topic)), quote(p.topicSource(topic)),
                    quote(p.upstreamTopic(topic)), quote(p.originalTopic(topic)), p.isHeartbeatsTopic(topic), p.isCheckpointsTopic(topic), p.isInternalTopic(topic));
            }
        }
    }

    static String text(byte[] utf8) {
        return quote(new String(utf8, StandardCharsets.UTF_8));
    }

    static String quote(String s) {
        return s == null ? "-" : '"' + URLEncoder.encode(s, StandardCharsets.UTF_8) + '"';
    }

    static void line(Object... fields) {
        StringBuilder b = new StringBuilder();
        for (Object f : fields) {
            b.append(b.isEmpty() ? "" : " ").append(f instanceof byte[] bytes ? HexFormat.of().formatHex(bytes) : f);
        }
        System.out.println(b);
    }
}
