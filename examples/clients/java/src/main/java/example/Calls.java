package example;

import bookshop.ApiException;
import bookshop.JSON;
import bookshop.model.Problem;
import com.fasterxml.jackson.core.JsonProcessingException;
import java.time.Duration;

/** What all calls have in common: problems, and patience. */
final class Calls {
  private Calls() {}

  /** One call of a generated client. */
  interface Call<T> {
    T run() throws ApiException;
  }

  /** Told before each wait for a worker. */
  interface Refused {
    void waiting(Duration wait) throws ApiException;
  }

  /** Returns the problem document (RFC 9457) of a call that failed. */
  static Problem problem(ApiException failure) {
    try {
      return JSON.getDefault().getMapper().readValue(failure.getResponseBody(), Problem.class);
    } catch (JsonProcessingException | IllegalArgumentException notOne) { // such as no answer at all
      throw new IllegalStateException("not a problem document: " + failure.getResponseBody(), failure);
    }
  }

  /**
   * Repeats a call the service had no worker for, after as long as that says. Nothing is run twice: what is answered with 503 was not
   * begun.
   *
   * @param attempts the most requests
   */
  static <T> T patiently(int attempts, Refused refused, Call<T> call) throws ApiException, InterruptedException {
    for (int attempt = 1; ; attempt++) {
      try {
        return call.run();
      } catch (ApiException failure) {
        if (failure.getCode() != 503 || attempt == attempts) {
          throw failure;
        }
        Duration wait = Duration.ofSeconds(failure.getResponseHeaders().firstValueAsLong("Retry-After").orElseThrow(() -> failure));
        refused.waiting(wait);
        Thread.sleep(wait.toMillis());
      }
    }
  }
}
