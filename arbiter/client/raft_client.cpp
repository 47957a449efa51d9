// The client of our own servers: one connection, to the server it believes leads. Requests wait in order; each is sent
// on every new connection until it is answered or its time is up, always with the same sequence number, so that it is
// executed once however often it is sent (state_machine.hpp).
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <map>
#include <optional>
#include <random>
#include <utility>

#include "arbiter/client/engines.hpp"
#include "arbiter/register/vm_register.hpp"
#include "arbiter/wire/dial_patience.hpp"
#include "arbiter/wire/server_link.hpp"
#include "common/error.hpp"

namespace understudy::arbiter {
namespace asio = boost::asio;
using boost::system::error_code;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

namespace {

constexpr milliseconds kConnectPatience{300};   // for a connection to be ready
constexpr milliseconds kLongestPatience{4000};  // where servers may have a crowd before them
constexpr milliseconds kReplyPatience{500};     // for an answer, before another server is asked
constexpr milliseconds kGiveUp{2000};           // for an acknowledgement of what was sent
constexpr milliseconds kBackoff{15};            // before a server is asked again that had nothing better to offer
constexpr milliseconds kWatch{50};
constexpr std::size_t kBuffer = std::size_t{8} << 20U;
constexpr std::size_t kMaxQueued = 100'000;

ClientId random_id() {
    std::random_device device;
    const auto word = [&] { return (std::uint64_t{device()} << 32U) | device(); };
    return {word(), word()};
}

class RaftClient : public std::enable_shared_from_this<RaftClient> {
  public:
    RaftClient(asio::io_context& io, const ParsedUrl& url)
        : io_(io),
          servers_(url.servers),
          cluster_(url.parameter("cluster", "understudy")),
          tls_(url.tls),
          id_(random_id()),
          patience_(kConnectPatience, kLongestPatience, random_id().low),
          backoff_(io),
          watch_(io) {}

    using Finish = std::function<void(const Reply*)>;  // null: time is up

    template <typename Body>
    void ask(Body body, milliseconds timeout, Finish finish) {
        if (operations_.size() >= kMaxQueued) {
            asio::post(io_, [finish = std::move(finish)] { finish(nullptr); });
            return;
        }
        timeout = std::min<milliseconds>(timeout, kMaxPatience);
        const auto number = next_number_++;
        Operation operation;
        operation.deadline = Clock::now() + timeout;
        operation.finish = std::move(finish);
        if constexpr (std::is_same_v<Body, Submit>) {
            body.client = id_;
            body.sequence = next_sequence_++;
            unanswered_.emplace(body.sequence, number);
        }
        operation.body = std::move(body);
        operations_.emplace(number, std::move(operation));
        watch();
        if (ready_) {
            send_waiting();
        } else if (!connecting_) {
            // Not from within the caller's call.
            connecting_ = true;
            asio::post(io_, [self = shared_from_this()] { self->connect(); });
        }
    }

    // Answers without asking anybody: not from within the caller's call, and not when the owner is gone by then.
    void call_soon(std::function<void()> answer) {
        asio::post(io_, [self = shared_from_this(), answer = std::move(answer)] {
            if (!self->shut_) {
                answer();
            }
        });
    }

    // The owner is gone: no callback runs any more.
    void shut() {
        shut_ = true;
        operations_.clear();
        unanswered_.clear();
        hang_up();
        watch_.cancel();
        backoff_.cancel();
    }

  private:
    struct Operation {
        std::variant<Submit, ReadRequest, ListRequest> body;
        Clock::time_point deadline;
        Finish finish;
        bool sent = false;  // on the present connection
        Clock::time_point sent_at;
    };

    // -- connection

    void connect() {
        hang_up();
        if (shut_ || operations_.empty()) {
            connecting_ = false;
            return;
        }
        connecting_ = true;
        const Address target = redirected_ ? *std::exchange(redirected_, std::nullopt) : servers_[next_server_];
        attempt_began_ = Clock::now();
        const std::weak_ptr<RaftClient> weak = weak_from_this();  // a callback may end the client
        ServerLink::Handlers handlers;
        handlers.on_welcome = [this](const Welcome& /*welcome*/) {
            connecting_ = false;
            ready_ = true;
            patience_.welcomed();
            send_waiting();
        };
        handlers.on_message = [weak](const WireMessage& message) {
            const auto self = weak.lock();
            return self && self->take(message);
        };
        handlers.on_closed = [this](const std::string& why) { elsewhere(why); };
        const Hello hello{kProtocolVersion, Hello::Kind::client, 0, cluster_, 0, 0};
        link_.emplace(io_, tls_, target, ServerLink::Options{hello, 0, kGiveUp, kBuffer}, std::move(handlers));
    }

    void hang_up() {
        ready_ = false;
        link_.reset();
        for (auto& [number, operation] : operations_) {
            operation.sent = false;
        }
    }

    // This server did not serve: the next one, after a moment when all have been tried.
    void elsewhere(const std::string& why) {
        trouble_ = why;
        hang_up();
        next_server_ = (next_server_ + 1) % servers_.size();
        if (++failures_ < servers_.size()) {
            connect();
        } else {
            failures_ = 0;
            later();
        }
    }

    void later() {
        connecting_ = true;
        backoff_.expires_after(kBackoff);
        backoff_.async_wait([weak = weak_from_this()](error_code error) {
            const auto self = weak.lock();
            if (self && !error) {
                self->connect();
            }
        });
    }

    // -- messages

    bool take(const WireMessage& message) {
        const auto* reply = std::get_if<Reply>(&message);
        if (reply == nullptr) {
            return false;
        }
        const auto it = operations_.find(reply->id);
        if (it == operations_.end()) {
            return true;  // its time was up
        }
        if (const auto* redirect = std::get_if<Redirect>(&reply->body)) {
            it->second.sent = false;
            follow(*redirect);
            return true;
        }
        failures_ = 0;
        finish(it, reply);
        send_waiting();
        return true;
    }

    void follow(const Redirect& redirect) {
        trouble_ = "no leader";
        if (connecting_) {
            return;
        }
        connecting_ = true;
        if (redirect.leader != 0 && hops_++ < servers_.size()) {
            try {
                redirected_ = parse_address(redirect.address);
                // Without TLS nobody is sent off this machine.
                if (!tls_ && !redirected_->loopback()) {
                    redirected_.reset();
                }
            } catch (const Error&) {
                redirected_.reset();
            }
        }
        if (redirected_) {
            asio::post(io_, [self = shared_from_this()] { self->connect(); });
        } else {
            hops_ = 0;
            next_server_ = (next_server_ + 1) % servers_.size();
            later();
        }
    }

    void send_waiting() {
        if (!ready_) {
            return;
        }
        const auto lowest = unanswered_.empty() ? next_sequence_ : unanswered_.begin()->first;
        for (auto& [number, operation] : operations_) {
            if (operation.sent) {
                continue;
            }
            if (auto* submit = std::get_if<Submit>(&operation.body)) {
                if (submit->sequence >= lowest + kMaxOutstanding) {
                    break;
                }
                submit->answered_below = lowest;
            }
            Request request{number, {}};
            std::visit([&](const auto& body) { request.body = body; }, operation.body);
            if (!link_->send(request)) {
                return;
            }
            operation.sent = true;
            operation.sent_at = Clock::now();
        }
    }

    // -- time

    void watch() {
        if (watching_) {
            return;
        }
        watching_ = true;
        auto soonest = Clock::now() + kWatch;
        for (const auto& [number, operation] : operations_) {
            soonest = std::min(soonest, operation.deadline);
            if (number > operations_.begin()->first + kMaxOutstanding) {
                break;
            }
        }
        watch_.expires_at(soonest);
        watch_.async_wait([weak = weak_from_this()](error_code error) {
            const auto self = weak.lock();
            if (!self || error) {
                return;
            }
            self->watching_ = false;
            self->check_time();
            if (!self->operations_.empty()) {
                self->watch();
            }
        });
    }

    void check_time() {
        const auto now = Clock::now();
        bool silent = false;
        std::vector<std::uint64_t> late;
        for (const auto& [number, operation] : operations_) {
            if (operation.deadline <= now) {
                late.push_back(number);
            } else if (operation.sent && now - operation.sent_at > kReplyPatience) {
                silent = true;
            }
        }
        for (const auto number : late) {
            if (const auto it = operations_.find(number); it != operations_.end()) {  // a callback may end the client
                finish(it, nullptr);
            }
        }
        if (shut_ || operations_.empty()) {
            return;
        }
        if (silent) {
            elsewhere("no answer");
        } else if (connecting_ && !ready_ && link_ && now - attempt_began_ > patience_.limit(link_->connected())) {
            patience_.ran_out(link_->connected());
            elsewhere("no connection");
        }
    }

    void finish(std::map<std::uint64_t, Operation>::iterator it, const Reply* reply) {
        if (const auto* submit = std::get_if<Submit>(&it->second.body)) {
            unanswered_.erase(submit->sequence);
        }
        const auto done = std::move(it->second.finish);
        operations_.erase(it);
        hops_ = 0;
        done(reply);
    }

  public:
    [[nodiscard]] Outcome late() const { return no_answer("the arbiter", trouble_); }

  private:
    asio::io_context& io_;
    std::vector<Address> servers_;
    std::string cluster_;
    std::shared_ptr<tls::Context> tls_;
    ClientId id_;
    DialPatience patience_;
    asio::steady_timer backoff_;
    asio::steady_timer watch_;
    bool watching_ = false;
    std::optional<ServerLink> link_;
    Clock::time_point attempt_began_;
    bool connecting_ = false;
    bool ready_ = false;
    bool shut_ = false;
    std::size_t next_server_ = 0;
    std::size_t failures_ = 0;
    std::size_t hops_ = 0;
    std::optional<Address> redirected_;
    std::string trouble_;
    std::map<std::uint64_t, Operation> operations_;
    std::map<std::uint64_t, std::uint64_t> unanswered_;  // sequence number → operation
    std::uint64_t next_number_ = 1;
    std::uint64_t next_sequence_ = 1;
};

class RaftClientHandle : public Client {
  public:
    RaftClientHandle(asio::io_context& io, const ParsedUrl& url) : client_(std::make_shared<RaftClient>(io, url)) {}
    ~RaftClientHandle() override { client_->shut(); }
    RaftClientHandle(const RaftClientHandle&) = delete;
    RaftClientHandle& operator=(const RaftClientHandle&) = delete;

    void read(const VmId& vm, milliseconds timeout, Callback done) override {
        client_->ask(ReadRequest{vm}, timeout, [this, vm, done = std::move(done)](const Reply* reply) {
            const auto* read = reply == nullptr ? nullptr : std::get_if<ReadReply>(&reply->body);
            done(read == nullptr ? client_->late() : read_outcome(vm, read->state));
        });
    }
    void list(milliseconds timeout, ListCallback done) override {
        const auto listing = std::make_shared<Listing>();
        listing->deadline = Clock::now() + timeout;
        listing->done = std::move(done);
        next_page(listing, {});
    }

  private:
    struct Listing {
        std::vector<std::pair<VmId, VmState>> vms;
        Clock::time_point deadline;
        ListCallback done;
    };

    void submit(VmOperation operation, milliseconds timeout, Callback done) override {
        const auto vm = vm_of(operation);
        if (!within_bounds(operation)) {  // no message may be long enough to ask it
            client_->call_soon([vm, done = std::move(done)] { done(not_considered(vm)); });
            return;
        }
        Submit body;
        body.operation = std::move(operation);
        client_->ask(std::move(body), timeout, [this, vm, done = std::move(done)](const Reply* reply) {
            const auto* answer = reply == nullptr ? nullptr : std::get_if<Answer>(&reply->body);
            if (answer == nullptr) {
                done(client_->late());
                return;
            }
            // These say nothing about the VM: the request was not considered.
            const bool considered = answer->reason != Reason::full && answer->reason != Reason::superseded &&
                                    answer->reason != Reason::not_permitted;
            const auto verdict = answer->granted ? Verdict::yes : considered ? Verdict::no : Verdict::unknown;
            done({verdict, answer->current, explain(answer->reason, vm, answer->current),
                  answer->reason == Reason::invalid});
        });
    }

    // Each page is a linearizable read; the listing as a whole is not a snapshot of one moment.
    void next_page(const std::shared_ptr<Listing>& listing, const VmId& after) {
        const auto left = std::chrono::duration_cast<milliseconds>(listing->deadline - Clock::now());
        client_->ask(ListRequest{after}, std::max(left, milliseconds(1)), [this, listing](const Reply* reply) {
            const auto* page = reply == nullptr ? nullptr : std::get_if<ListReply>(&reply->body);
            if (page == nullptr) {
                listing->done(Verdict::unknown, {}, client_->late().explanation);
                return;
            }
            listing->vms.insert(listing->vms.end(), page->vms.begin(), page->vms.end());
            if (page->more && !page->vms.empty()) {
                next_page(listing, page->vms.back().first);
            } else {
                listing->done(Verdict::yes, std::move(listing->vms), {});
            }
        });
    }

    std::shared_ptr<RaftClient> client_;
};

}  // namespace

std::unique_ptr<Client> connect_raft(asio::io_context& io, const ParsedUrl& url) {
    return std::make_unique<RaftClientHandle>(io, url);
}

}  // namespace understudy::arbiter
