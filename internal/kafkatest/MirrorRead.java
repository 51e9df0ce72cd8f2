import java.io.FileInputStream;
import java.io.InputStream;
import java.time.Duration;
import java.util.Collection;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import java.util.TreeSet;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.connect.mirror.MirrorClient;
import org.apache.kafka.connect.mirror.RemoteClusterUtils;

/**
 * MirrorRead FILE ALIAS GROUP prints what MirrorMaker 2's client finds on a target cluster: about the cluster ALIAS, and
 * where GROUP of it goes on. FILE has the client's properties. One thing a line, sorted.
 */
class MirrorRead {
    private static final Duration LIMIT = Duration.ofSeconds(60);

    public static void main(String[] args) throws Exception {
        String alias = args[1];
        String group = args[2];
        Map<String, Object> config = read(args[0]);
        try (MirrorClient client = new MirrorClient(config)) {
            print("upstreamCluster", client.upstreamClusters());
            System.out.println("replicationHops " + alias + " " + client.replicationHops(alias));
            print("heartbeatTopic", client.heartbeatTopics());
            print("checkpointTopic", client.checkpointTopics());
            print("remoteTopic", client.remoteTopics());
            print("remoteTopicOf " + alias, client.remoteTopics(alias));
            Map<TopicPartition, OffsetAndMetadata> offsets = client.remoteConsumerOffsets(group, alias, LIMIT);
            same(offsets, RemoteClusterUtils.translateOffsets(config, alias, group, LIMIT));
            TreeSet<String> lines = new TreeSet<>();
            offsets.forEach((tp, o) -> lines.add(tp + " " + o.offset() + " \"" + o.metadata() + "\""));
            print("offset", lines);
            same(client.upstreamClusters(), RemoteClusterUtils.upstreamClusters(config));
            same(client.replicationHops(alias), RemoteClusterUtils.replicationHops(config, alias));
            same(client.heartbeatTopics(), RemoteClusterUtils.heartbeatTopics(config));
            same(client.checkpointTopics(), RemoteClusterUtils.checkpointTopics(config));
        }
    }

    private static Map<String, Object> read(String file) throws Exception {
        Properties p = new Properties();
        try (InputStream in = new FileInputStream(file)) {
            p.load(in);
        }
        Map<String, Object> config = new HashMap<>();
        p.forEach((k, v) -> config.put((String) k, v));
        return config;
    }

    private static void print(String what, Collection<String> values) {
        new TreeSet<>(values).forEach(v -> System.out.println(what + " " + v));
    }

    private static void same(Object client, Object utils) {
        if (!client.equals(utils)) {
            throw new IllegalStateException("MirrorClient gives " + client + ", RemoteClusterUtils " + utils);
        }
    }
}
