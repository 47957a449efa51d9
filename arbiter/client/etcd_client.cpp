// The same interface on an etcd v3 cluster, through its JSON gateway (HTTP, /v3/kv/range and /v3/kv/txn).
//
// Each VM is one key, <prefix>/vm/<name>; its value is the VmRecord that our own servers keep. An operation reads the
// record, decides by the rules of vm_register.hpp and writes the new record in a transaction that compares the key's
// modification revision; when another client was faster, it begins anew. Nothing is remembered about clients: a
// repeated operation finds its own effect in the record and gets the same answer. Where an earlier attempt's outcome
// was lost and the repetition finds no trace of it, the verdict is unknown.
#include <openssl/evp.h>

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>
#include <boost/property_tree/json_parser.hpp>
#include <boost/property_tree/ptree.hpp>
#include <deque>
#include <sstream>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "arbiter/client/engines.hpp"
#include "arbiter/register/vm_register.hpp"
#include "common/error.hpp"

namespace understudy::arbiter {
namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using asio::ip::tcp;
using boost::property_tree::ptree;
using boost::system::error_code;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

namespace {

constexpr milliseconds kAttempt{700};
constexpr milliseconds kBackoff{50};
constexpr std::size_t kMaxQueued = 100'000;
constexpr std::uint64_t kMaxBody = std::uint64_t{8} << 20U;
constexpr std::size_t kPage = 1000;

std::string base64(std::string_view bytes) {
    std::string out((bytes.size() + 2) / 3 * 4 + 1, '\0');
    const int size =
        EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                        reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
    out.resize(static_cast<std::size_t>(size));
    return out;
}

std::optional<std::string> from_base64(const std::string& text) {
    if (text.size() % 4 != 0) {
        return std::nullopt;
    }
    std::string out(text.size() / 4 * 3 + 1, '\0');
    const int size =
        EVP_DecodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                        reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()));
    if (size < 0) {
        return std::nullopt;
    }
    const auto padding = text.ends_with("==") ? 2U : text.ends_with('=') ? 1U : 0U;
    out.resize(static_cast<std::size_t>(size) - padding);
    return out;
}

// A record as etcd has it.
struct Stored {
    std::optional<VmRecord> record;
    std::uint64_t revision = 0;  // 0: the key is not there
};

std::optional<Stored> stored_from(const ptree& kv) {
    const auto bytes = from_base64(kv.get<std::string>("value", ""));
    if (!bytes) {
        return std::nullopt;
    }
    Decoder decoder(*bytes);
    Stored stored{decode_vm_record(decoder), kv.get<std::uint64_t>("mod_revision", 0)};
    return decoder.finished() && stored.revision != 0 ? std::optional(std::move(stored)) : std::nullopt;
}

class EtcdClient : public std::enable_shared_from_this<EtcdClient> {
  public:
    EtcdClient(asio::io_context& io, const ParsedUrl& url)
        : io_(io),
          servers_(url.servers),
          prefix_(url.parameter("prefix", "understudy") + "/vm/"),
          resolver_(io),
          backoff_(io),
          deadline_timer_(io) {}

    struct Listing {
        std::vector<std::pair<VmId, VmState>> vms;
        Client::ListCallback done;
    };
    struct ReadOnly {
        VmId vm;
    };
    struct Operation {
        std::variant<VmOperation, ReadOnly, Listing> what;
        Clock::time_point deadline;
        Client::Callback done;
        bool may_have_happened = false;  // a transaction's outcome was lost
    };

    void enqueue(Operation operation) {
        if (queue_.size() >= kMaxQueued) {
            asio::post(io_, [self = shared_from_this(), operation = std::move(operation)]() mutable {
                self->end(std::move(operation), {Verdict::unknown, std::nullopt, "too many requests are waiting"});
            });
            return;
        }
        queue_.push_back(std::move(operation));
        watch();
        if (!busy_) {
            busy_ = true;
            asio::post(io_, [self = shared_from_this()] { self->begin(); });
        }
    }

    void shut() {
        shut_ = true;
        queue_.clear();
        hang_up();
        backoff_.cancel();
        deadline_timer_.cancel();
        resolver_.cancel();
    }

  private:
    // -- one operation at a time: the front of the queue

    void begin() {
        if (shut_ || queue_.empty()) {
            busy_ = false;
            return;
        }
        busy_ = true;
        auto& operation = queue_.front();
        if (const auto* listing = std::get_if<Listing>(&operation.what)) {
            const auto from = listing->vms.empty() ? prefix_ : prefix_ + listing->vms.back().first + '\0';
            auto end = prefix_;
            ++end.back();
            post("/v3/kv/range",
                 fmt::format(R"({{"key":"{}","range_end":"{}","limit":"{}"}})", base64(from), base64(end), kPage),
                 &EtcdClient::took_page);
            return;
        }
        post("/v3/kv/range", fmt::format(R"({{"key":"{}"}})", base64(key())), &EtcdClient::took_record);
    }

    // The VM that the operation is about; not for a listing.
    [[nodiscard]] const VmId& vm() const {
        const auto& what = queue_.front().what;
        const auto* read = std::get_if<ReadOnly>(&what);
        return read != nullptr ? read->vm : vm_of(std::get<VmOperation>(what));
    }
    [[nodiscard]] std::string key() const { return prefix_ + vm(); }

    void took_record(const ptree& reply) {
        Stored stored;
        if (const auto kvs = reply.get_child_optional("kvs"); kvs && !kvs->empty()) {
            const auto found = stored_from(kvs->front().second);
            if (!found) {
                finish({Verdict::unknown, std::nullopt, "the cluster holds a record that this version cannot read"});
                return;
            }
            stored = *found;
        }
        auto& operation = queue_.front();
        const auto current = [&] { return stored.record ? std::optional(stored.record->state) : std::nullopt; };
        if (std::holds_alternative<ReadOnly>(operation.what)) {
            finish(read_outcome(vm(), current()));
            return;
        }
        const auto before = stored.record;
        const auto decision = decide(stored.record, std::get<VmOperation>(operation.what));
        if (!decision.granted) {
            if (decision.reason == Reason::invalid) {
                finish(not_considered(vm()));
                return;
            }
            const auto verdict = operation.may_have_happened ? Verdict::unknown : Verdict::no;
            finish({verdict, current(), explain(decision.reason, vm(), current())});
            return;
        }
        if (before == stored.record) {  // already so
            finish({Verdict::yes, current(), {}});
            return;
        }
        std::string value;
        Encoder encoder(value);
        encode(encoder, *stored.record);
        outcome_ = {Verdict::yes, current(), {}};
        transacting_ = true;
        post("/v3/kv/txn",
             fmt::format(R"({{"compare":[{{"key":"{0}","target":"MOD","result":"EQUAL","mod_revision":"{1}"}}],)"
                         R"("success":[{{"request_put":{{"key":"{0}","value":"{2}"}}}}]}})",
                         base64(key()), stored.revision, base64(value)),
             &EtcdClient::took_transaction);
    }

    void took_transaction(const ptree& reply) {
        transacting_ = false;
        if (reply.get<bool>("succeeded", false)) {
            finish(std::move(outcome_));
        } else {
            begin();  // another client was faster
        }
    }

    void took_page(const ptree& reply) {
        auto& listing = std::get<Listing>(queue_.front().what);
        if (const auto kvs = reply.get_child_optional("kvs")) {
            for (const auto& [unused, kv] : *kvs) {
                const auto name = from_base64(kv.get<std::string>("key", ""));
                const auto stored = stored_from(kv);
                if (!name || name->size() <= prefix_.size() || !stored) {
                    finish(
                        {Verdict::unknown, std::nullopt, "the cluster holds a record that this version cannot read"});
                    return;
                }
                listing.vms.emplace_back(name->substr(prefix_.size()), stored->record->state);
            }
        }
        if (reply.get<bool>("more", false)) {
            begin();
        } else {
            finish({Verdict::yes, std::nullopt, {}});
        }
    }

    void finish(Outcome outcome) {
        auto operation = std::move(queue_.front());
        queue_.pop_front();
        failures_ = 0;
        end(std::move(operation), std::move(outcome));
        begin();
    }

    static void end(Operation operation, Outcome outcome) {
        if (auto* listing = std::get_if<Listing>(&operation.what)) {
            listing->done(outcome.verdict, std::move(listing->vms), outcome.explanation);
        } else {
            operation.done(std::move(outcome));
        }
    }

    // -- HTTP: one connection, one request at a time

    using Take = void (EtcdClient::*)(const ptree&);

    void post(const char* target, std::string body, Take take) {
        request_ = {http::verb::post, target, 11};
        request_.set(http::field::host, servers_[server_].text());
        request_.set(http::field::content_type, "application/json");
        request_.body() = std::move(body);
        request_.prepare_payload();
        take_ = take;
        const auto attempt = ++attempt_;
        if (stream_) {
            exchange(attempt);
            return;
        }
        const auto& server = servers_[server_];
        resolver_.async_resolve(
            server.host, std::to_string(server.port),
            [self = shared_from_this(), attempt](error_code error, const tcp::resolver::results_type& found) {
                if (attempt != self->attempt_) {
                    return;
                }
                if (error) {
                    self->failed(error.message());
                    return;
                }
                self->stream_ = std::make_shared<beast::tcp_stream>(self->io_);
                self->stream_->expires_after(kAttempt);
                self->stream_->async_connect(found, [self, attempt](error_code refused, const tcp::endpoint&) {
                    if (attempt != self->attempt_) {
                        return;
                    }
                    if (refused) {
                        self->failed(refused.message());
                        return;
                    }
                    error_code ignored;
                    self->stream_->socket().set_option(tcp::no_delay(true), ignored);
                    self->exchange(attempt);
                });
            });
    }

    void exchange(std::uint64_t attempt) {
        stream_->expires_after(kAttempt);
        const auto stream = stream_;
        http::async_write(*stream, request_,
                          [self = shared_from_this(), stream, attempt](error_code error, std::size_t) {
                              if (attempt != self->attempt_) {
                                  return;
                              }
                              if (error) {
                                  self->failed(error.message());
                                  return;
                              }
                              const auto parser = std::make_shared<http::response_parser<http::string_body>>();
                              parser->body_limit(kMaxBody);
                              http::async_read(*stream, self->input_, *parser,
                                               [self, stream, parser, attempt](error_code broken, std::size_t) {
                                                   if (attempt == self->attempt_) {
                                                       self->answered(broken, parser->get());
                                                   }
                                               });
                          });
    }

    void answered(error_code error, const http::response<http::string_body>& response) {
        if (error || response.result() != http::status::ok) {
            failed(error ? error.message() : "HTTP status " + std::to_string(response.result_int()));
            return;
        }
        ptree reply;
        try {
            std::istringstream in(response.body());
            boost::property_tree::read_json(in, reply);
        } catch (const boost::property_tree::json_parser_error& bad) {
            failed(bad.message());
            return;
        }
        if (!response.keep_alive()) {
            hang_up();
        }
        (this->*take_)(reply);
    }

    // The attempt came to nothing: again, at the next server.
    void failed(const std::string& why) {
        trouble_ = why;
        hang_up();
        server_ = (server_ + 1) % servers_.size();
        if (queue_.empty()) {
            busy_ = false;
            return;
        }
        if (std::exchange(transacting_, false)) {
            queue_.front().may_have_happened = true;
        }
        if (++failures_ < servers_.size()) {
            begin();
            return;
        }
        failures_ = 0;
        backoff_.expires_after(kBackoff);
        backoff_.async_wait([weak = weak_from_this()](error_code error) {
            if (const auto self = weak.lock(); self && !error) {
                self->begin();
            }
        });
    }

    void hang_up() {
        ++attempt_;
        input_.consume(input_.size());
        if (stream_) {
            error_code ignored;
            stream_->socket().close(ignored);
            stream_.reset();
        }
    }

    // -- time

    void watch() {
        if (watching_ || queue_.empty()) {
            return;
        }
        watching_ = true;
        deadline_timer_.expires_after(milliseconds(20));
        deadline_timer_.async_wait([weak = weak_from_this()](error_code error) {
            const auto self = weak.lock();
            if (!self || error) {
                return;
            }
            self->watching_ = false;
            self->expire();
            self->watch();
        });
    }

    void expire() {
        const auto now = Clock::now();
        std::vector<Operation> late;
        const bool front_late = !queue_.empty() && queue_.front().deadline <= now;
        for (auto it = queue_.begin(); it != queue_.end();) {
            if (it->deadline <= now) {
                late.push_back(std::move(*it));
                it = queue_.erase(it);
            } else {
                ++it;
            }
        }
        if (front_late) {
            transacting_ = false;
            backoff_.cancel();
            hang_up();
            busy_ = true;
            asio::post(io_, [self = shared_from_this()] { self->begin(); });
        }
        for (auto& operation : late) {
            if (shut_) {
                return;
            }
            end(std::move(operation), no_answer("the etcd cluster", trouble_));
        }
    }

    asio::io_context& io_;
    std::vector<Address> servers_;
    std::string prefix_;
    tcp::resolver resolver_;
    asio::steady_timer backoff_;
    asio::steady_timer deadline_timer_;
    std::shared_ptr<beast::tcp_stream> stream_;
    beast::flat_buffer input_;
    http::request<http::string_body> request_;
    Take take_ = nullptr;
    std::deque<Operation> queue_;
    bool busy_ = false;
    bool shut_ = false;
    bool watching_ = false;
    bool transacting_ = false;
    Outcome outcome_;
    std::size_t server_ = 0;
    std::size_t failures_ = 0;
    std::uint64_t attempt_ = 0;
    std::string trouble_;
};

class EtcdClientHandle : public Client {
  public:
    EtcdClientHandle(asio::io_context& io, const ParsedUrl& url) : client_(std::make_shared<EtcdClient>(io, url)) {}
    ~EtcdClientHandle() override { client_->shut(); }
    EtcdClientHandle(const EtcdClientHandle&) = delete;
    EtcdClientHandle& operator=(const EtcdClientHandle&) = delete;

    void read(const VmId& vm, milliseconds timeout, Callback done) override {
        enqueue(EtcdClient::ReadOnly{vm}, timeout, std::move(done));
    }
    void list(milliseconds timeout, ListCallback done) override {
        enqueue(EtcdClient::Listing{{}, std::move(done)}, timeout, {});
    }

  private:
    void submit(VmOperation operation, milliseconds timeout, Callback done) override {
        enqueue(std::move(operation), timeout, std::move(done));
    }

    template <typename What>
    void enqueue(What what, milliseconds timeout, Callback done) {
        EtcdClient::Operation operation;
        operation.what = std::move(what);
        operation.deadline = Clock::now() + timeout;
        operation.done = std::move(done);
        client_->enqueue(std::move(operation));
    }

    std::shared_ptr<EtcdClient> client_;
};

}  // namespace

std::unique_ptr<Client> connect_etcd(asio::io_context& io, const ParsedUrl& url) {
    return std::make_unique<EtcdClientHandle>(io, url);
}

}  // namespace understudy::arbiter
