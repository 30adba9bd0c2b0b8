import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.util.ArrayList;
import java.util.List;

/** A service that does what its callers make it do, one line of input at a time, and says when it is done. */
final class Service {
    private static final List<byte[]> DOCUMENTS = new ArrayList<>();

    public static void main(String[] arguments) throws IOException {
        System.out.println("ready");
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            String[] words = line.split(" ");
            switch (words[0]) {
                case "nothing" -> { }
                case "remember" -> remember(Integer.parseInt(words[1]));
                default -> throw new IllegalArgumentException(line);
            }
            System.out.println("done");
        }
    }

    /** Keeps so many MiB of small things, as a cache does from which nothing is ever taken out. */
    private static void remember(int mib) {
        for (int i = 0; i < mib * 1000; i++) {
            DOCUMENTS.add(new byte[1024]);
        }
    }
}
