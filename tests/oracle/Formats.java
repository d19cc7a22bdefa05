import io.confluent.connect.avro.AvroConverter;
import io.debezium.converters.CloudEventsConverter;
import io.debezium.embedded.Connect;
import io.debezium.engine.DebeziumEngine;
import java.io.*;
import java.nio.file.*;
import java.util.*;
import java.util.concurrent.*;
import java.util.concurrent.atomic.*;
import org.apache.kafka.connect.data.Schema;
import org.apache.kafka.connect.header.Header;
import org.apache.kafka.connect.json.JsonConverter;
import org.apache.kafka.connect.source.SourceRecord;
import org.apache.kafka.connect.storage.Converter;
import org.apache.kafka.connect.storage.SimpleHeaderConverter;

/**
 * Runs a real Debezium engine and writes every event in each format, base64 with tabs between: topic, key and value in Avro, in
 * JSON, in JSON with schemas, value as a CloudEvent, headers as NAME=VALUE,...
 */
public class Formats {
  static String b64(byte[] b) { return b == null ? "-" : Base64.getEncoder().encodeToString(b); }

  static <C extends Converter> C made(C converter, boolean isKey, String... settings) {
    Map<String, String> map = new HashMap<>();
    for (int i = 0; i < settings.length; i += 2) map.put(settings[i], settings[i + 1]);
    converter.configure(map, isKey);
    return converter;
  }

  public static void main(String[] a) throws Exception {
    Properties p = new Properties();
    try (var in = new FileInputStream(a[0])) { p.load(in); }
    long idleMs = Long.parseLong(a[2]);
    String url = p.getProperty("schema.registry.url");
    List<Converter> keys = new ArrayList<>(), values = new ArrayList<>();
    for (boolean isKey : new boolean[] {true, false}) {
      var list = isKey ? keys : values;
      list.add(made(new AvroConverter(), isKey, "schema.registry.url", url));
      list.add(made(new JsonConverter(), isKey, "schemas.enable", "false"));
      list.add(made(new JsonConverter(), isKey, "schemas.enable", "true"));
    }
    var cloud = made(new CloudEventsConverter(), false, "json.schemas.enable", "false");
    var headers = new SimpleHeaderConverter();
    AtomicLong last = new AtomicLong(System.currentTimeMillis() + 15_000);
    AtomicReference<Throwable> failed = new AtomicReference<>();
    try (var out = Files.newBufferedWriter(Path.of(a[1]))) {
      DebeziumEngine<?> e = DebeziumEngine.create(Connect.class)
          .using(p)
          .using((ok, msg, err) -> { if (!ok) failed.set(err == null ? new RuntimeException(msg) : err); })
          .notifying((recs, c) -> {
            try { for (var r : recs) {
              SourceRecord s = r.value();
              var line = new StringJoiner("\t").add(s.topic());
              for (int i = 0; i < keys.size(); i++) {
                line.add(b64(keys.get(i).fromConnectData(s.topic(), s.keySchema(), s.key())));
                line.add(b64(values.get(i).fromConnectData(s.topic(), s.valueSchema(), s.value())));
              }
              line.add(b64(cloud.fromConnectData(s.topic(), s.valueSchema(), s.value())));
              var shown = new StringJoiner(",");
              for (Header h : s.headers())
                shown.add(h.key() + "=" + b64(headers.fromConnectHeader(s.topic(), h.key(), h.schema(), h.value())));
              out.write(line.add(shown.toString()) + "\n");
              c.markProcessed(r);
            }
            out.flush(); } catch (IOException x) { throw new UncheckedIOException(x); }
            c.markBatchFinished();
            last.set(System.currentTimeMillis());
          }).build();
      var ex = Executors.newSingleThreadExecutor();
      ex.execute(e);
      while (failed.get() == null && System.currentTimeMillis() - last.get() < idleMs) Thread.sleep(100);
      if (failed.get() != null) { failed.get().printStackTrace(); out.flush(); Runtime.getRuntime().halt(1); }
      e.close();
      out.flush();
    }
    Runtime.getRuntime().halt(0);
  }
}
