#include "tools/verifier/connection.hpp"

#include <algorithm>
#include <utility>

namespace understudy::tools {
namespace {

constexpr std::chrono::milliseconds kLongestRetry{200};

}  // namespace

VerifierConnection::VerifierConnection(Owner& owner, boost::asio::io_context& io, const Endpoints& endpoints)
    : owner_(owner), endpoints_(endpoints), retry_timer_(io) {}

void VerifierConnection::connect() {
    ++attempt_;
    open();
}

void VerifierConnection::close() {
    ++attempt_;
    connected_ = false;
    waiting_since_.reset();
    sent_at_.reset();
    shut();
    retry_timer_.cancel();
}

void VerifierConnection::send_next() {
    note_sent();
    ask();
}

void VerifierConnection::begin_series(Series which) {
    series_ = which;
    position_ = 0;
    finished_ = false;
}

bool VerifierConnection::send_next_of_series() {
    if (position_ == length_of(series_)) {
        finished_ = true;
        return false;
    }
    note_sent();
    ask_of_series(series_, position_++);
    return true;
}

void VerifierConnection::note_sent() {
    const auto now = Clock::now();
    sent_at_ = now;
    waiting_since_ = waiting_since_.value_or(now);
}

void VerifierConnection::opened() {
    connected_ = true;
    owner_.on_idle(*this);
}

void VerifierConnection::failed(const std::string& why) {
    owner_.on_refusal(why);
    retry();
}

void VerifierConnection::answered(const Judgement& judgement) {
    const auto now = Clock::now();
    const auto sent_at = std::exchange(sent_at_, std::nullopt).value_or(now);
    retry_after_ = kFirstRetry;
    owner_.on_answer(judgement, sent_at, waiting_since_.value_or(sent_at), now);
    waiting_since_.reset();
    owner_.on_idle(*this);
}

void VerifierConnection::dropped(const std::string& why) {
    ++attempt_;
    if (std::exchange(sent_at_, std::nullopt)) {
        leave_in_doubt();
    }
    position_ -= position_ > 0 ? 1 : 0;  // that answer will not come
    waiting_since_ = waiting_since_.value_or(Clock::now());
    owner_.on_drop(why);
    retry();
}

void VerifierConnection::retry() {
    connected_ = false;
    shut();
    retry_timer_.expires_after(std::exchange(retry_after_, std::min<Clock::duration>(retry_after_ * 2, kLongestRetry)));
    retry_timer_.async_wait([this, attempt = attempt_](boost::system::error_code error) {
        if (!error && attempt == attempt_) {
            connect();
        }
    });
}

}  // namespace understudy::tools
