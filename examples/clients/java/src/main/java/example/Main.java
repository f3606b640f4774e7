package example;

import bookshop.ApiClient;
import bookshop.ApiException;
import bookshop.api.CommandsApi;
import bookshop.api.CommandsApi.APIAddToBasketRequest;
import bookshop.api.CommandsApi.APIGreetRequest;
import bookshop.api.CommandsApi.APIPlaceOrderRequest;
import bookshop.api.CommandsApi.APITakeStockRequest;
import bookshop.api.LeasesApi;
import bookshop.api.SessionsApi;
import bookshop.model.AddToBasketArgs;
import bookshop.model.CheckoutRequest;
import bookshop.model.FieldError;
import bookshop.model.GreetArgs;
import bookshop.model.Line;
import bookshop.model.Order;
import bookshop.model.Parcel;
import bookshop.model.PlaceOrderArgs;
import bookshop.model.Problem;
import bookshop.model.Shipping;
import bookshop.model.TakeStockArgs;
import java.time.Duration;
import java.time.OffsetDateTime;
import java.util.ArrayList;
import java.util.List;

/** Calls the commands of app.py with the client that openapi-generator made of the service's openapi.json. */
public final class Main {
  private final ApiClient client;
  private final CommandsApi shop;

  private Main(ApiClient client, CommandsApi shop) {
    this.client = client;
    this.shop = shop;
  }

  /** Throws if anything is not as it should be. */
  public static void main(String[] args) throws Exception {
    String url = args.length > 0 ? args[0] : "http://localhost:8080";
    ApiClient client = new ApiClient();
    client.updateBaseUri(url);
    CommandsApi shop = new CommandsApi(client);
    Main main = new Main(client, shop);
    main.greet();
    main.placeOrder();
    main.refuseArguments();
    main.raise();
    main.keepBasket();
    main.runOutOfTime();
    main.waitForAWorker();
  }

  private void greet() throws ApiException {
    GreetArgs args = new GreetArgs().name("Ada");
    String greeting = shop.greet(APIGreetRequest.newBuilder().greetArgs(args).build());
    see("greet", greeting, "hello Ada");
  }

  private void placeOrder() throws ApiException {
    Order order =
        new Order()
            .addLinesItem(new Line().title("Emma").copies(2L))
            .addLinesItem(new Line().title("Walden"))
            .placed(OffsetDateTime.parse("2026-01-31T12:00:00Z"))
            .shipping(Shipping.EXPRESS);
    List<String> parcels = new ArrayList<>();
    for (Parcel parcel : shop.placeOrder(placing(order))) {
      parcels.add(parcel.getCopies() + " of " + parcel.getTitle() + " by " + parcel.getShipping() + " for " + parcel.getArrives());
    }
    see("parcels", String.join(", ", parcels), "2 of Emma by express for 2026-02-01T12:00Z, 1 of Walden by express for 2026-02-01T12:00Z");
  }

  private static APIPlaceOrderRequest placing(Order order) {
    return APIPlaceOrderRequest.newBuilder().placeOrderArgs(new PlaceOrderArgs().order(order)).build();
  }

  /** Sends what does not fit. The service says where, and Python has not seen it. */
  private void refuseArguments() {
    Order none = new Order().addLinesItem(new Line().title("Emma").copies(0L)).placed(OffsetDateTime.now());
    Problem problem = failure(() -> shop.placeOrder(placing(none)));
    FieldError first = problem.getErrors().get(0);
    see("refused", problem.getStatus() + " " + problem.getCode() + ", " + first.getPointer() + " " + first.getDetail(),
        "400 invalid_args, /order/lines/0/copies must be at least 1");
  }

  /** Has the command raise a CommandError. */
  private void raise() {
    Order soldOut = new Order().addLinesItem(new Line().title("Ulysses")).placed(OffsetDateTime.now());
    Problem problem = failure(() -> shop.placeOrder(placing(soldOut)));
    see("raised", problem.getStatus() + " " + problem.getCode() + ", " + problem.getDetail(), "422 sold_out, there are 0 of Ulysses");
  }

  /** Makes calls in a session: a Python process of its own, which remembers. */
  private void keepBasket() throws ApiException {
    SessionsApi sessions = new SessionsApi(client);
    see("basket", add("Emma"), "Emma");
    see("basket", add("Walden"), "Emma, Walden");
    sessions.endSession("java");
    see("new basket", add("Ulysses"), "Ulysses");
    sessions.endSession("java");
  }

  private String add(String title) throws ApiException {
    AddToBasketArgs args = new AddToBasketArgs().title(title);
    return String.join(", ", shop.addToBasket(APIAddToBasketRequest.newBuilder().addToBasketArgs(args).sessionId("java").build()));
  }

  /** Bounds a call. It had begun, so that repeating it is the caller's decision. */
  private void runOutOfTime() {
    TakeStockArgs args = new TakeStockArgs().seconds(60.0);
    Problem problem = failure(() -> shop.takeStock(APITakeStockRequest.newBuilder().takeStockArgs(args).timeoutMs(100.0).build()));
    see("too slow", problem.getStatus() + " " + problem.getCode() + ", started: " + problem.getStarted(), "504 execution_timeout, started: true");
  }

  /** Calls while the service has no worker free, because a lease has its only one until the first refusal. */
  private void waitForAWorker() throws ApiException, InterruptedException {
    LeasesApi leases = new LeasesApi(client);
    String lease = leases.checkout(new CheckoutRequest().type(CheckoutRequest.TypeEnum.ANONYMOUS)).getLeaseId();
    List<Duration> refusals = new ArrayList<>();
    GreetArgs args = new GreetArgs().name("Bob");
    double soon = 100; // else the service looks for a worker for some seconds
    String greeting =
        Calls.patiently(
            5,
            wait -> {
              refusals.add(wait);
              if (refusals.size() == 1) {
                leases.releaseLease(lease);
              }
            },
            () -> shop.greet(APIGreetRequest.newBuilder().greetArgs(args).checkoutTimeoutMs(soon).build()));
    see("busy", "refused: " + !refusals.isEmpty() + ", then " + greeting, "refused: true, then hello Bob");
  }

  /** Returns why a call failed, as it must. */
  private static Problem failure(Calls.Call<?> call) {
    try {
      throw new IllegalStateException("not refused, but answered " + call.run());
    } catch (ApiException failure) {
      return Calls.problem(failure);
    }
  }

  /** Prints what came of a step, which must be what is wanted. */
  private static void see(String what, String got, String want) {
    if (!got.equals(want)) {
      throw new IllegalStateException(what + ": got " + got + ", want " + want);
    }
    System.out.println(what + ": " + got);
  }
}
