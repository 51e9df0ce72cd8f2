import java.util.TreeSet;
import org.apache.kafka.connect.mirror.MirrorCheckpointConnector;
import org.apache.kafka.connect.mirror.MirrorHeartbeatConnector;
import org.apache.kafka.connect.mirror.MirrorSourceConnector;
import org.apache.kafka.connect.source.SourceConnector;

/**
 * Writes mm2-keys.txt: the keys that the connectors of MirrorMaker 2 declare. Run it in this folder, with the jars of a
 * Kafka distribution: java -cp "$KAFKA/libs/*" MirrorKeys.java > ../mm2-keys.txt
 */
public class MirrorKeys {
    public static void main(String[] args) {
        TreeSet<String> names = new TreeSet<>();
        for (SourceConnector c : new SourceConnector[] {new MirrorSourceConnector(), new MirrorCheckpointConnector(), new MirrorHeartbeatConnector()})
            names.addAll(c.config().names());
        names.forEach(System.out::println);
    }
}
