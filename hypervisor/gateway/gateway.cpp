#include "hypervisor/gateway/gateway.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <list>
#include <optional>
#include <utility>

#include "common/error.hpp"
#include "common/tls/pace.hpp"
#include "common/tls/polled_socket.hpp"
#include "hypervisor/gateway/capture.hpp"
#include "hypervisor/gateway/endpoint.hpp"
#include "hypervisor/gateway/guest_queue.hpp"
#include "hypervisor/gateway/openings.hpp"
#include "hypervisor/gateway/packet.hpp"
#include "hypervisor/gateway/protocol.hpp"
#include "hypervisor/gateway/refusals.hpp"
#include "hypervisor/gateway/speaker_rule.hpp"

namespace understudy::network {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kMaxCandidates = 16;  // that do not stand by
constexpr std::size_t kMaxStandbys = 4;
constexpr std::chrono::seconds kHelloDeadline{5};
constexpr std::size_t kCandidateBuffer = 2048;
constexpr std::size_t kVoiceBuffer = std::size_t{256} << 10;
constexpr std::size_t kPartsPerWrite = 256;
// What a dead voice can have left in its socket's buffer is bounded by the kernel; this bounds a living one.
constexpr std::size_t kMaxDrainedBytes = std::size_t{16} << 20;

// A connection that has not said hello yet.
struct Candidate {
    tls::PolledSocket socket;
    Clock::time_point deadline;
    bool stands_by = false;     // it is a replica, and has no deadline
    bool has_stood_by = false;  // and does not again
    MessageDecoder decoder{kCandidateBuffer};
    bool stranger = false;  // its handshake failed; it is to hear why, and to hang up
};

// The connection of the replica that speaks for the guest.
struct Voice {
    tls::PolledSocket socket;
    SpeakerRank rank;
    MessageDecoder decoder;
    bool blocked = false;    // its socket takes no more for now
    bool was_heard = false;  // a frame of the guest came from it
};

// How many bytes were there, as far as one read of the socket takes them. Nothing: the connection has ended.
std::optional<std::size_t> read_into(MessageDecoder& decoder, tls::PolledSocket& socket) {
    const ssize_t got = socket.receive(decoder.space());
    if (got <= 0) {
        return got < 0 && (errno == EAGAIN || errno == EINTR) ? std::optional<std::size_t>(0) : std::nullopt;
    }
    decoder.committed(static_cast<std::size_t>(got));
    return static_cast<std::size_t>(got);
}

// A notice is small and the last or first thing on a connection: if the socket does not take it, the peer does without.
void send_notice(tls::PolledSocket& socket, MessageKind kind, std::string_view text) {
    std::vector<std::byte> message;
    append_notice(message, kind, text);
    const iovec whole{.iov_base = message.data(), .iov_len = message.size()};
    static_cast<void>(socket.send({&whole, 1}));
}

}  // namespace

class Gateway::Server {
  public:
    Server(GatewayConfig config, Observer observer)
        : served_vm_(config.vm),
          speaker_rule_(config.rank_memory),
          vm_(std::move(config.vm)),
          tls_(std::move(config.tls)),
          observer_(std::move(observer)),
          network_(config.network, [this](std::span<const std::byte> frame) { for_guest(frame); }) {
        if (!config.capture.empty()) {
            capture_.emplace(config.capture);
        }
        for (const std::string& text : config.listen) {
            Endpoint endpoint = parse_endpoint(text);
            if (!tls_ && !endpoint.is_local()) {
                throw Error::format("plain text is for loopback only, and {} is not: give --tls instead of --insecure",
                                    text);
            }
            listeners_.emplace_back(std::move(endpoint));
            report(GatewayEvent::Kind::listening, {}, listeners_.back().text());
        }
    }

    void run(int stop_fd) {
        while (true) {
            fds_.clear();
            watch(stop_fd, POLLIN);
            for (const ListeningSocket& listener : listeners_) {
                watch(listener.fd(), wait_before(listener) == Clock::duration::zero() ? POLLIN : 0);
            }
            const std::size_t voice_at = fds_.size();
            if (voice_) {
                watch(voice_->socket.fd(), static_cast<short>(POLLIN | (voice_->blocked ? POLLOUT : 0)));
            }
            const std::size_t candidates_at = fds_.size();
            for (const Candidate& candidate : candidates_) {
                watch(candidate.socket.fd(),
                      static_cast<short>(POLLIN | (candidate.socket.has_unsent() ? POLLOUT : 0)));
            }
            const std::size_t network_at = fds_.size();
            const auto longest = std::min(network_.fill(fds_, may_open_), until_next_deadline());
            if (::poll(fds_.data(), fds_.size(), static_cast<int>(longest.count())) < 0) {
                if (errno != EINTR) {
                    throw Error::from_errno("poll", errno);
                }
                continue;
            }
            if (fds_[0].revents != 0) {
                return;
            }
            // The host's side first: what it brings goes out in the same write as the answers to the guest's frames.
            network_.dispatch(std::span(fds_).subspan(network_at), may_open_);
            if (voice_ && fds_[voice_at].revents != 0) {
                serve_voice(fds_[voice_at].revents);
            }
            serve_candidates(std::span(fds_).subspan(candidates_at, network_at - candidates_at));
            for (std::size_t i = 0; i < listeners_.size(); ++i) {
                if (fds_[1 + i].revents != 0) {
                    accept_from(listeners_[i]);
                }
            }
            repeat_openings();
            flush();
        }
    }

  private:
    void watch(int fd, short events) { fds_.push_back({.fd = fd, .events = events, .revents = 0}); }

    void report(GatewayEvent::Kind kind, SpeakerRank rank, std::string detail, std::size_t frames = 0) {
        observer_({.kind = kind, .vm = vm_, .rank = rank, .detail = std::move(detail), .frames = frames});
    }

    // --- frames ---

    void capture(std::span<const std::byte> frame) {
        if (capture_) {
            capture_->frame(frame);
        }
    }

    void for_guest(std::span<const std::byte> frame) {
        if (is_wire_frame_size(frame.size())) {
            capture(frame);
            openings_.to_guest(frame, Clock::now());
            to_guest_.push(frame);
        }
    }

    // Only to a replica that takes what it is sent: for another one the first SYN waits still.
    void repeat_openings() {
        if (voice_ && !voice_->blocked && to_guest_.all_sent()) {
            openings_.repeat_due(Clock::now(), [this](std::span<const std::byte> syn) { to_guest_.push(syn); });
        }
    }

    void from_guest(std::span<const std::byte> frame) {
        if (!std::exchange(voice_->was_heard, true)) {
            served_vm_ = vm_;
        }
        capture(frame);
        openings_.from_guest(frame);
        to_guest_.heard(frame);
        network_.input(frame);
    }

    void flush() {
        std::array<iovec, kPartsPerWrite> parts;
        while (voice_ && !voice_->blocked && (!to_guest_.all_sent() || voice_->socket.has_unsent())) {
            const ssize_t sent = voice_->socket.send(std::span(parts).first(to_guest_.gather(parts)));
            if (sent >= 0) {
                to_guest_.sent(static_cast<std::size_t>(sent), Clock::now());
                voice_->blocked = voice_->socket.has_unsent();
            } else if (errno != EINTR) {
                // Full, or dead. What it wrote before it died may still be readable: the next poll finds out.
                voice_->blocked = true;
            }
        }
    }

    // --- the voice ---

    void serve_voice(short events) {
        if ((events & POLLOUT) != 0) {
            voice_->blocked = false;
        }
        // What TLS has to say itself may wait for the socket to take it while something is read.
        if ((events & (POLLIN | POLLHUP | POLLERR)) == 0 && !voice_->socket.has_unsent()) {
            return;
        }
        do {
            if (const auto got = read_into(voice_->decoder, voice_->socket); !got) {
                detach("the connection ended");
            } else if (*got > 0) {
                take_messages();
            }
        } while (voice_ && voice_->socket.has_more());
    }

    void take_messages() {
        while (voice_) {
            const auto next = voice_->decoder.next();
            if (next.status == MessageDecoder::Status::need_more) {
                return;
            }
            if (next.status == MessageDecoder::Status::malformed) {
                detach(std::string(next.reason));
            } else if (next.kind == MessageKind::frame) {
                from_guest(next.body);
            } else if (next.kind == MessageKind::hello) {
                raise_rank(next.body);
            } else {
                detach("a message that replicas do not send");
            }
        }
    }

    void raise_rank(std::span<const std::byte> body) {
        std::string reason;
        const auto hello = decode_hello(body, reason);
        if (!hello || hello->vm != vm_ || !speaker_rule_.objection_to(hello->rank, Clock::now()).empty()) {
            detach(hello ? "a second hello with another VM, a lower rank or one that is far too high" : reason);
            return;
        }
        voice_->rank = hello->rank;
        speaker_rule_.speaks(hello->rank);
        report(GatewayEvent::Kind::attached, hello->rank, "rank raised");
    }

    // What the voice said while it had the right to is the guest's word, also when it is dead by now.
    void drain_voice() {
        for (std::size_t got = 1, drained = 0; voice_ && got > 0 && drained < kMaxDrainedBytes; drained += got) {
            got = read_into(voice_->decoder, voice_->socket).value_or(0);
            take_messages();
        }
    }

    void detach(std::string why) {
        const SpeakerRank rank = voice_->rank;
        vm_ = served_vm_;  // a name under which nothing was said is forgotten
        voice_.reset();
        speaker_rule_.silent(Clock::now());
        to_guest_.start_over(Clock::now());
        report(GatewayEvent::Kind::detached, rank, std::move(why));
    }

    void attach(Candidate& candidate, const Hello& hello) {
        if (voice_) {
            drain_voice();
        }
        if (voice_) {
            const auto text = fmt::format("a replica of {} speaks for the guest now", describe(hello.rank));
            send_notice(voice_->socket, MessageKind::deposed, text);
            detach(text);
        }
        vm_ = hello.vm;
        speaker_rule_.speaks(hello.rank);
        voice_.emplace(
            Voice{.socket = std::move(candidate.socket), .rank = hello.rank, .decoder = std::move(candidate.decoder)});
        voice_->decoder.widen(kVoiceBuffer);
        send_notice(voice_->socket, MessageKind::welcome, {});
        // The host's side need not ask for the guest's address, nor wait for the answer.
        network_.input(gratuitous_arp(ArpForm::request, hello.mac, htonl(kGuestAddress)));
        network_.dispatch({}, may_open_);  // what waited for the address leaves now, not at the next tick
        report(GatewayEvent::Kind::attached, hello.rank, {}, to_guest_.frames());
        take_messages();  // frames may have come right behind the hello
        if (voice_ && voice_->socket.has_more()) {
            serve_voice(POLLIN);
        }
    }

    // --- connections that have not said hello ---

    [[nodiscard]] std::chrono::milliseconds until_next_deadline() const {
        constexpr std::chrono::milliseconds kForever{60000};
        const auto now = Clock::now();
        Clock::duration left = kForever;
        for (const Candidate& candidate : candidates_) {
            if (!candidate.stands_by) {
                left = std::min(left, candidate.deadline - now);
            }
        }
        if (const auto wait = pace_.wait(now); wait > Clock::duration::zero()) {
            left = std::min(left, wait);
        }
        if (voice_ && !voice_->blocked) {
            left = std::min<Clock::duration>(left, openings_.until_due(now).value_or(kForever));
        }
        return std::max(std::chrono::milliseconds(0), std::chrono::ceil<std::chrono::milliseconds>(left));
    }

    [[nodiscard]] std::shared_ptr<tls::Context> tls_for(const ListeningSocket& listener) const {
        return listener.endpoint().is_unix() ? nullptr : tls_;
    }

    // Before the next connection is accepted there.
    [[nodiscard]] Clock::duration wait_before(const ListeningSocket& listener) const {
        return tls_for(listener) ? pace_.wait(Clock::now()) : Clock::duration::zero();
    }

    void accept_from(const ListeningSocket& listener) {
        while (wait_before(listener) == Clock::duration::zero()) {
            FileDescriptor fd = listener.accept();
            if (!fd) {
                return;
            }
            const auto tls = tls_for(listener);
            if (tls && tls::has_left(fd.get())) {
                return;  // one between two polls: a crowd of them does not keep the voice waiting
            }
            if (tls) {
                pace_.accepted(Clock::now());
            }
            while (candidates_.size() - standbys() >= kMaxCandidates) {
                hurry_oldest();
            }
            candidates_.push_back({.socket = tls::PolledSocket(std::move(fd), tls, tls::Side::acceptor),
                                   .deadline = Clock::now() + kHelloDeadline});
        }
    }

    [[nodiscard]] std::size_t standbys() const {
        return static_cast<std::size_t>(std::ranges::count(candidates_, true, &Candidate::stands_by));
    }

    // The oldest stranger has had its time, unless it has said hello by now: a replica does at once, and must not wait
    // behind a port scan.
    void hurry_oldest() {
        const auto oldest = std::ranges::find(candidates_, false, &Candidate::stands_by);
        const bool done = hear_out(*oldest);
        if (!done && oldest->stands_by) {
            return;
        }
        if (!done) {
            turn_away(*oldest, "too many connections without a hello");
        }
        candidates_.erase(oldest);
    }

    void serve_candidates(std::span<const pollfd> polled) {
        const auto now = Clock::now();
        auto candidate = candidates_.begin();
        for (const pollfd& entry : polled) {
            bool done = entry.revents != 0 && hear_out(*candidate);
            if (!done && !candidate->stands_by && candidate->deadline <= now) {
                turn_away(*candidate, candidate->has_stood_by ? "others stand by since" : "no hello in time");
                done = true;
            }
            candidate = done ? candidates_.erase(candidate) : std::next(candidate);
        }
    }

    // True when the candidate is one no longer.
    bool hear_out(Candidate& candidate) {
        if (candidate.stranger) {
            return hung_up(candidate);
        }
        if (const auto step = candidate.socket.handshake(); step == tls::PolledSocket::Handshake::failed) {
            tell_of_refusal(candidate.socket.failure());
            candidate.stranger = true;
            ::shutdown(candidate.socket.fd(), SHUT_WR);  // an end with bytes unread would overtake what TLS has said
            return hung_up(candidate);
        }
        if (candidate.socket.handshake() == tls::PolledSocket::Handshake::under_way) {
            return false;
        }
        do {
            if (const auto got = read_into(candidate.decoder, candidate.socket); !got || *got == 0) {
                return !got;
            }
            for (auto next = candidate.decoder.next(); next.status != MessageDecoder::Status::need_more;
                 next = candidate.decoder.next()) {
                if (handle(candidate, next)) {
                    return true;
                }
            }
        } while (candidate.socket.has_more());
        return false;
    }

    // Likewise.
    bool handle(Candidate& candidate, const MessageDecoder::Result& message) {
        const bool stands_by = message.kind == MessageKind::standby && !candidate.has_stood_by;
        if (message.status == MessageDecoder::Status::malformed || (message.kind != MessageKind::hello && !stands_by)) {
            turn_away(candidate, "this is no Understudy replica");
            return true;
        }
        std::string reason;
        const auto hello = decode_hello(message.body, reason);
        if (hello && candidate.socket.encrypted()) {
            reason = tls::objection_to(candidate.socket.peer(), tls::Role::host, hello->vm);
        }
        if (!hello || !reason.empty() || !(stands_by ? serves(hello->vm, reason) : acceptable(*hello, reason))) {
            turn_away(candidate, reason);
            return true;
        }
        if (!stands_by) {
            attach(candidate, *hello);
            return true;
        }
        if (standbys() >= kMaxStandbys) {
            const auto oldest = std::ranges::find(candidates_, true, &Candidate::stands_by);
            oldest->stands_by = false;
            oldest->deadline = Clock::now();  // is turned away when its turn comes
        }
        candidate.stands_by = candidate.has_stood_by = true;
        observer_({.kind = GatewayEvent::Kind::standing_by, .vm = hello->vm, .rank = {}, .detail = {}});
        return false;
    }

    static bool hung_up(const Candidate& candidate) {
        std::array<std::byte, kCandidateBuffer> unheard{};
        const ssize_t got = ::recv(candidate.socket.fd(), unheard.data(), unheard.size(), MSG_DONTWAIT);
        return got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR);
    }

    bool serves(const VmId& vm, std::string& reason) const {
        if (!vm_.empty() && vm != vm_) {
            reason = fmt::format("this gateway serves the VM {}, not {}", vm_, vm);
        }
        return reason.empty();
    }

    bool acceptable(const Hello& hello, std::string& reason) const {
        if (serves(hello.vm, reason)) {
            reason = speaker_rule_.objection_to(hello.rank, Clock::now());
        }
        return reason.empty();
    }

    void turn_away(Candidate& candidate, const std::string& why) {
        if (candidate.stranger) {
            return;  // it was told, as far as it listens
        }
        if (candidate.socket.handshake() == tls::PolledSocket::Handshake::done) {
            send_notice(candidate.socket, MessageKind::refused, why);
        }
        tell_of_refusal(why);
    }

    void tell_of_refusal(const std::string& why) {
        if (refusals_.worth_telling(why, Clock::now())) {
            report(GatewayEvent::Kind::refused, {}, why);
        }
    }

    VmId served_vm_;  // as the operator said, or whose guest was heard; empty: anybody's
    SpeakerRule speaker_rule_;
    VmId vm_;
    std::shared_ptr<tls::Context> tls_;
    tls::Pace pace_;
    Observer observer_;
    std::optional<Capture> capture_;
    GuestQueue to_guest_;
    Openings openings_;
    // Before the first replica has come nobody knows the guest's address.
    UserNetwork::MayOpen may_open_ = [this](std::uint16_t guest_port) {
        return !vm_.empty() && speaker_rule_.has_spoken() && openings_.room(guest_port);
    };
    UserNetwork network_;
    std::vector<ListeningSocket> listeners_;
    std::optional<Voice> voice_;
    Refusals refusals_;
    std::list<Candidate> candidates_;  // the oldest first
    std::vector<pollfd> fds_;
};

Gateway::Gateway(GatewayConfig config, Observer observer)
    : server_(std::make_unique<Server>(std::move(config), std::move(observer))) {}

Gateway::~Gateway() = default;

void Gateway::run(int stop_fd) {
    server_->run(stop_fd);
}

}  // namespace understudy::network
