import java.util.*;
import org.springframework.http.*;
import org.springframework.web.client.*;

/** Spring's RestTemplate as a Java back end uses it; prints what it got, UTF-8, a line each. Argument: base URL. */
public class SpringClient {
    public static void main(String[] arguments) throws Exception {
        java.io.PrintStream out = new java.io.PrintStream(System.out, true, "UTF-8");
        RestTemplate rest = new RestTemplate();
        String url = arguments[0] + "/generate";
        String prompt = "请问你是谁？ a&b #1 {x} 100%";

        String text = rest.getForObject(url + "?prompt={prompt}", String.class, prompt);
        out.println("GET " + text);
        Map<?, ?> got = rest.getForObject(url + "?prompt={prompt}", Map.class, prompt);
        out.println("MAP " + got.get("generated_text") + " | " + got.get("generate_text"));

        Map<String, Object> body = new HashMap<>();
        body.put("prompt", prompt);
        body.put("max_tokens", 16);
        Map<?, ?> posted = rest.postForObject(url, body, Map.class);
        out.println("POST " + posted.get("generated_text"));

        ResponseEntity<String> whole = rest.getForEntity(url + "?prompt=hi", String.class);
        out.println("TYPE " + whole.getHeaders().getContentType());
        try {
            rest.getForObject(url + "?prompt=hi&model=nobody", String.class);
        } catch (HttpClientErrorException error) {
            out.println("ERROR " + error.getStatusCode().value());
        }
    }
}
