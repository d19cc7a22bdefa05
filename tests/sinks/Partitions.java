import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import java.util.Scanner;
import org.apache.kafka.common.utils.Utils;

/** Partitions COUNT < hex keys, one a line: the partition of each as Java's own producer chooses it. */
class Partitions {
    public static void main(String[] arguments) {
        int count = Integer.parseInt(arguments[0]);
        Scanner keys = new Scanner(System.in, StandardCharsets.US_ASCII);
        while (keys.hasNextLine()) {
            byte[] key = HexFormat.of().parseHex(keys.nextLine());
            System.out.println(Utils.toPositive(Utils.murmur2(key)) % count);
        }
    }
}
