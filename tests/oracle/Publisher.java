import io.debezium.engine.ChangeEvent;
import io.debezium.engine.DebeziumEngine;
import io.debezium.engine.format.*;
import java.io.*;
import java.util.*;
import java.util.concurrent.*;
import java.util.concurrent.atomic.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Publisher ENGINE.properties BOOTSTRAP: a real engine that writes to Kafka, as Connect does, until its input ends. */
public class Publisher {
  public static void main(String[] a) throws Exception {
    Properties p = new Properties();
    try (var in = new FileInputStream(a[0])) { p.load(in); }
    Map<String, Object> to = Map.of("bootstrap.servers", a[1], "acks", "all");
    AtomicReference<Throwable> failed = new AtomicReference<>();
    var producer = new KafkaProducer<>(to, new ByteArraySerializer(), new ByteArraySerializer());
    DebeziumEngine<?> e = DebeziumEngine.create(KeyValueHeaderChangeEventFormat.of(Avro.class, Avro.class, Json.class))
        .using(p)
        .using((ok, msg, err) -> { if (!ok) failed.set(err == null ? new RuntimeException(msg) : err); })
        .notifying((recs, c) -> {
          try {
            var sent = new ArrayList<Future<?>>();
            for (var r : recs)
              sent.add(producer.send(new ProducerRecord<>(r.destination(), r.partition(), (byte[]) r.key(), (byte[]) r.value())));
            for (var f : sent) f.get();
          } catch (ExecutionException x) { throw new IllegalStateException(x); }
          for (var r : recs) c.markProcessed(r);
          c.markBatchFinished();
        }).build();
    var ex = Executors.newSingleThreadExecutor();
    var run = ex.submit(e);
    while (failed.get() == null && !run.isDone() && System.in.available() == 0) Thread.sleep(100);
    if (failed.get() != null) { failed.get().printStackTrace(); Runtime.getRuntime().halt(1); }
    e.close();
    producer.close();
    Runtime.getRuntime().halt(0);
  }
}
