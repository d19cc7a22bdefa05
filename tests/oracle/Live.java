import io.debezium.engine.DebeziumEngine;
import io.debezium.engine.format.Json;
import java.io.*;
import java.nio.file.*;
import java.util.*;

/** A real Debezium engine that runs until SIGTERM and writes every event as a line: topic TAB key TAB value, in JSON. */
public class Live {
  public static void main(String[] a) throws Exception {
    Properties p = new Properties();
    try (var in = new FileInputStream(a[0])) { p.load(in); }
    var out = Files.newBufferedWriter(Path.of(a[1]));
    var engine = DebeziumEngine.create(Json.class)
        .using(p)
        .using((ok, msg, err) -> { if (!ok) { System.err.println(msg); if (err != null) err.printStackTrace(); Runtime.getRuntime().halt(1); } })
        .notifying((events, committer) -> {
          try {
            for (var e : events) out.write(e.destination() + "\t" + e.key() + "\t" + e.value() + "\n");
            out.flush();  // what counts as processed has left this process
          } catch (IOException x) { throw new UncheckedIOException(x); }
          for (var e : events) committer.markProcessed(e);
          committer.markBatchFinished();
        }).build();
    Runtime.getRuntime().addShutdownHook(new Thread(() -> {
      try { engine.close(); } catch (IOException x) { x.printStackTrace(); }
    }));
    engine.run();
  }
}
