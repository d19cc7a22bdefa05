import io.confluent.kafka.serializers.KafkaAvroDeserializer;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.*;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;

/** Deserializer BOOTSTRAP REGISTRY TOPIC: each event as Confluent's deserializer reads it, key TAB value in Avro's JSON. */
public class Deserializer {
  public static void main(String[] a) {
    var out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
    Map<String, Object> settings = Map.of("bootstrap.servers", a[0], "schema.registry.url", a[1],
        "key.deserializer", KafkaAvroDeserializer.class, "value.deserializer", KafkaAvroDeserializer.class,
        "avro.use.logical.type.converters", true);
    try (var consumer = new KafkaConsumer<Object, Object>(settings)) {
      var partitions = consumer.partitionsFor(a[2]).stream().map(p -> new TopicPartition(a[2], p.partition())).toList();
      consumer.assign(partitions);
      consumer.seekToBeginning(partitions);
      var ends = consumer.endOffsets(partitions);
      while (partitions.stream().anyMatch(p -> consumer.position(p) < ends.get(p)))
        for (var event : consumer.poll(Duration.ofSeconds(1))) out.println(event.key() + "\t" + event.value());
    }
    out.flush();
  }
}
