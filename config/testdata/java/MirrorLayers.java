package org.apache.kafka.connect.mirror;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import org.apache.kafka.connect.runtime.distributed.DistributedConfig;

/**
 * Writes mm2-layers.golden.jsonl: made-up files and what MirrorMaker 2's driver hands to the connectors of each flow that
 * copies, one JSON object a line. Run it in this folder, with the jars of a Kafka distribution:
 * javac -d /tmp/layers -cp "$KAFKA/libs/*" MirrorLayers.java &&
 * java -cp "/tmp/layers:$KAFKA/libs/*" org.apache.kafka.connect.mirror.MirrorLayers > ../mm2-layers.golden.jsonl
 */
public class MirrorLayers {
    static final String[] PLACES = {"", "A.", "B.", "C.", "A->B.", "A->C."};
    static final String[][] KEYS = {
        {"topics", "x", "y", "z"}, {"groups", "g", "h"}, {"replication.factor", "1", "3", "5"}, {"replication.policy.separator", "_", "-"},
        {"refresh.topics.interval.seconds", "10", "20", "30"}, {"sync.topic.configs.enabled", "true", "false"},
        {"sync.group.offsets.enabled", "true", "FALSE"}, {"consumer.auto.offset.reset", "earliest", "latest"},
        {"source.consumer.auto.offset.reset", "earliest", "latest"}, {"security.protocol", "PLAINTEXT", "ssl"}, {"bootstrap.servers", "d:1", "e:1", "f:1"},
        {"offset.storage.topic", "o", "p"}, {"group.id", "v", "w"}, {"emit.heartbeats.enabled", "true", "false"}};

    public static void main(String[] args) {
        Random random = new Random(1);
        for (int n = 0; n < 18; n++) {
            Map<String, String> file = new LinkedHashMap<>();
            file.put("clusters", "A, B, C");
            for (String alias : List.of("A", "B", "C"))
                file.put(alias + ".bootstrap.servers", alias.toLowerCase() + ":1");
            for (String flow : List.of("A->B", "A->C"))
                file.put(flow + ".enabled", List.of("true", "TRUE", "false", "true").get(random.nextInt(4)));
            for (int i = random.nextInt(30); i > 0; i--) {
                String[] key = KEYS[random.nextInt(KEYS.length)];
                file.put(PLACES[random.nextInt(PLACES.length)] + key[0], key[1 + random.nextInt(key.length - 1)]);
            }
            List<String> flows = new ArrayList<>();
            MirrorMakerConfig config = new MirrorMakerConfig(file);
            for (SourceAndTarget pair : config.clusterPairs())
                if (new MirrorSourceConfig(config.connectorBaseConfig(pair, MirrorSourceConnector.class)).enabled())
                    flows.add(flow(config, pair));
            System.out.println("{\"file\":" + json(file) + ",\"flows\":[" + String.join(",", flows) + "]}");
        }
    }

    static String flow(MirrorMakerConfig config, SourceAndTarget pair) {
        Map<String, String> props = config.connectorBaseConfig(pair, MirrorSourceConnector.class);
        MirrorSourceConfig source = new MirrorSourceConfig(props);
        Map<String, String> worker = config.workerConfig(pair);
        Map<String, String> out = new TreeMap<>();
        out.put("flow", pair.toString());
        for (String key : List.of("topics", "groups", "replication.factor", "replication.policy.separator", "refresh.topics.interval.seconds",
                "sync.topic.configs.enabled", "sync.group.offsets.enabled"))
            out.put(key, props.get(key));
        out.put("reset", (String) source.sourceConsumerConfig("x").get("auto.offset.reset"));
        for (String key : List.of("bootstrap.servers", "security.protocol")) {
            out.put("source " + key, (String) source.sourceAdminConfig("x").get(key));
            out.put("target " + key, (String) source.targetAdminConfig("x").get(key));
        }
        out.put("offset.storage.topic", worker.get("offset.storage.topic"));
        out.put("group.id", worker.get(DistributedConfig.GROUP_ID_CONFIG));
        out.values().removeIf(v -> v == null);
        return json(out);
    }

    static String json(Map<String, String> map) {
        List<String> parts = new ArrayList<>();
        map.forEach((k, v) -> parts.add("\"" + k + "\":\"" + v + "\""));
        return "{" + String.join(",", parts) + "}";
    }
}
