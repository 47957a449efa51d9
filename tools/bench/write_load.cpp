#include "tools/bench/write_load.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <optional>
#include <utility>

#include "common/error.hpp"

namespace understudy::tools {
namespace {

constexpr std::size_t kLimit = WriteLedger::kKeys / 2;  // of writes between a mark and a check
constexpr std::size_t kReadAtOnce = 64;                 // keys

}  // namespace

class WriteLoad::Client {
  public:
    using Clock = WriteLoad::Clock;

    Client(const WriteTarget& target, Board& board, std::string prefix, std::size_t index)
        : target_(target), board_(board), ledger_(std::move(prefix)), next_attempt_(index), thread_([this] {
              run();
          }) {}
    ~Client() { thread_.join(); }
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

    // Under the board's mutex, both.
    [[nodiscard]] bool served_since(Clock::time_point time) const { return is_held_ || asked_at_ >= time; }

  private:
    enum class Task : std::uint8_t { write, check, wait, stop };

    void run() {
        while (true) {
            const Task task = next_task();
            if (task == Task::stop) {
                return;
            }
            try {
                if (!link_) {
                    link_ = target_.find(next_attempt_++, board_.stopped);
                }
                task == Task::check ? check() : write();
            } catch (const Refused& refused) {
                note_trouble(refused.what(), false);
            } catch (const Error& error) {
                note_trouble(error.what(), link_ != nullptr);
            }
        }
    }

    // Waits until there is one.
    Task next_task() {
        std::unique_lock lock(board_.mutex);
        while (true) {
            const Task task = task_now();
            if (task != Task::wait) {
                return task;
            }
            board_.changed.wait(lock);
        }
    }

    Task task_now() {
        if (board_.stopped) {
            return Task::stop;
        }
        if (checks_ != board_.checks) {
            return Task::check;
        }
        if (marks_ != board_.marks) {
            marks_ = board_.marks;
            written_since_mark_ = 0;
        }
        is_held_ = board_.is_limited && written_since_mark_ >= kLimit;
        board_.is_held = board_.is_held || is_held_;
        return is_held_ ? Task::wait : Task::write;
    }

    void write() {
        const auto write = ledger_.next();
        const auto asked_at = Clock::now();
        waiting_since_ = waiting_since_.value_or(asked_at);
        ++written_since_mark_;
        is_outstanding_ = true;
        const bool is_confirmed = ask_to_write(write);
        is_outstanding_ = false;
        if (!is_confirmed) {
            note([](WriteFigures& figures) { ++figures.unconfirmed; });
            return;
        }
        ledger_.acknowledge(write.number);
        note_acknowledged(asked_at);
    }

    bool ask_to_write(const WriteLedger::Write& write) {
        try {
            return link_->write(write.key, write.number);
        } catch (const Refused&) {
            is_outstanding_ = false;
            note([](WriteFigures& figures) { ++figures.refused; });
            throw;
        }
    }

    void note_acknowledged(Clock::time_point asked_at) {
        const std::lock_guard lock(board_.mutex);
        const auto now = Clock::now();
        ++board_.figures.acknowledged;
        board_.figures.latency.add(now - asked_at);
        asked_at_ = asked_at;
        // What one waits for the others to be checked is nobody's outage.
        if (board_.is_limited && !board_.is_held) {
            const auto since = [&](Clock::time_point time) { return now - std::max(time, board_.marked_at); };
            auto& outage = board_.outage;
            outage.gap = std::max<std::chrono::nanoseconds>(outage.gap, since(board_.last_acknowledged));
            outage.wait = std::max<std::chrono::nanoseconds>(outage.wait, since(waiting_since_.value_or(asked_at)));
        }
        board_.last_acknowledged = now;
        waiting_since_.reset();
    }

    void check() {
        if (!unchecked_) {
            unchecked_ = ledger_.keys_to_check();
        }
        while (!unchecked_->empty()) {
            std::vector<std::string> keys;  // from the back, as they are taken off
            const auto end = unchecked_->rbegin() + static_cast<long>(std::min(unchecked_->size(), kReadAtOnce));
            std::transform(unchecked_->rbegin(), end, std::back_inserter(keys),
                           [&](std::size_t key) { return ledger_.name_of(key); });
            for (const Reply& found : link_->read(keys)) {
                note_found(ledger_.judge(unchecked_->back(), found));
                unchecked_->pop_back();
            }
        }
        unchecked_.reset();
        const std::lock_guard lock(board_.mutex);
        ++checks_;
        board_.is_limited = --board_.checking > 0 && board_.is_limited;
        board_.changed.notify_all();
    }

    void note_found(const Judgement& judgement) {
        if (judgement.finding.empty()) {
            return;
        }
        note([&](WriteFigures& figures) {
            figures.lost += judgement.lost_writes;
            figures.contradictions += judgement.contradiction ? 1 : 0;
            figures.finding = figures.finding.empty() ? judgement.finding : figures.finding;
        });
    }

    void note_trouble(const std::string& what, bool is_dropped) {
        link_.reset();
        std::unique_lock lock(board_.mutex);
        if (board_.stopped) {
            return;
        }
        board_.trouble = what;
        board_.figures.dropped += is_dropped ? 1 : 0;
        board_.figures.unanswered += std::exchange(is_outstanding_, false) ? 1 : 0;
        board_.changed.wait_for(lock, target_.retry, [&] { return board_.stopped.load(); });
    }

    template <typename Change>
    void note(Change change) {
        const std::lock_guard lock(board_.mutex);
        change(board_.figures);
    }

    const WriteTarget& target_;
    Board& board_;
    WriteLedger ledger_;
    std::size_t next_attempt_;  // others begin with others
    std::unique_ptr<WriteLink> link_{};
    bool is_outstanding_ = false;
    std::optional<Clock::time_point> waiting_since_{};     // for an acknowledged write
    std::optional<std::vector<std::size_t>> unchecked_{};  // keys of the check that runs
    std::uint64_t checks_ = 0;                             // that are done
    std::uint64_t marks_ = 0;                              // that were seen
    std::size_t written_since_mark_ = 0;
    Clock::time_point asked_at_{};  // for the last acknowledged write; under the mutex
    bool is_held_ = false;          // under the mutex
    std::thread thread_;            // last: it uses the rest
};

WriteLoad::WriteLoad(const WriteTarget& target, const std::string& name, std::size_t clients) : target_(target) {
    for (std::size_t i = 0; i < clients; ++i) {
        clients_.push_back(std::make_unique<Client>(target_, board_, fmt::format("{}:{}", name, i), i));
    }
}

WriteLoad::~WriteLoad() {
    {
        const std::lock_guard lock(board_.mutex);
        board_.stopped = true;
    }
    board_.changed.notify_all();
}

WriteFigures WriteLoad::take() {
    const std::lock_guard lock(board_.mutex);
    auto figures = std::exchange(board_.figures, {});
    figures.seconds = std::chrono::duration<double>(Clock::now() - std::exchange(board_.begin, Clock::now())).count();
    return figures;
}

void WriteLoad::mark() {
    const std::lock_guard lock(board_.mutex);
    ++board_.marks;
    board_.is_limited = true;
    board_.is_held = false;
    board_.outage = {};
    board_.marked_at = Clock::now();
}

bool WriteLoad::all_served_since(Clock::time_point time) const {
    const std::lock_guard lock(board_.mutex);
    return std::ranges::all_of(clients_, [&](const auto& client) { return client->served_since(time); });
}

Outage WriteLoad::outage() const {
    const std::lock_guard lock(board_.mutex);
    return board_.outage;
}

void WriteLoad::begin_check() {
    const std::lock_guard lock(board_.mutex);
    ++board_.checks;
    board_.checking = clients_.size();
    board_.changed.notify_all();
}

bool WriteLoad::has_checked() const {
    const std::lock_guard lock(board_.mutex);
    return board_.checking == 0;
}

std::string WriteLoad::last_trouble() const {
    const std::lock_guard lock(board_.mutex);
    return board_.trouble;
}

}  // namespace understudy::tools
