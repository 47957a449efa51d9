// What the benchmarks of protected guests stand on: arbiters, a gateway, and guests alone, protected or not at all, as
// processes of this machine.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tools/demo/relay.hpp"
#include "tools/demo/services.hpp"
#include "tools/demo/stage.hpp"
#include "tools/output/event.hpp"
#include "tools/output/role_word.hpp"
#include "tools/process/lines.hpp"

namespace understudy::tools {

class Site {
  public:
    // `executable`: of `understudy`; the programs stand in programs/ beside it. Starts the arbiters. Progress goes to
    // standard error.
    explicit Site(std::filesystem::path executable);
    ~Site();
    Site(const Site&) = delete;
    Site& operator=(const Site&) = delete;

    // Runs a command to its end; the lines of its standard output. Throws understudy::Error when that takes longer than
    // `timeout`, or when its exit status is not 0.
    [[nodiscard]] std::vector<std::string> run(const std::vector<std::string>& command,
                                               std::chrono::milliseconds timeout);

    // A guest that runs until the object goes: alone, or a protected pair. It is there when its constructor returns.
    class Guest {
      public:
        [[nodiscard]] const std::vector<std::string>& console() const { return console_; }
        // How many console lines had come a second after the pair was formed: until then the guest gives way to a
        // backup that makes up for the transfer.
        [[nodiscard]] std::size_t console_lines_unsettled() const { return unsettled_lines_; }
        // Throws understudy::Error where the console had told this line before: what follows it was not measured of a
        // pair. Nothing of a guest alone.
        void expect_settled_before(std::size_t line) const;
        // Of a protected one: what its primary logged in that time, as the primary's own reports have it, which come
        // every second. Nothing where there are less than two.
        struct Logged {
            double seconds = 0;
            double records = 0;
            double copied = 0;
            double bytes = 0;
            double guest_waited_ms = 0;
        };
        [[nodiscard]] std::optional<Logged> logged(Event::Time from, Event::Time to) const;
        // Of a checkpointed one: what its keeper took in that time, as it reports every second.
        struct Checkpointed {
            double seconds = 0;
            double checkpoints = 0;
            double pages = 0;
            double bytes = 0;
        };
        [[nodiscard]] std::optional<Checkpointed> checkpointed(Event::Time from, Event::Time to) const;
        // As logged(), while the console told these lines (their numbers).
        [[nodiscard]] std::optional<Logged> logged_between_lines(std::size_t from, std::size_t to) const;
        // What its processes have used of the host's processors, in seconds.
        [[nodiscard]] double processor_seconds() const;
        // What they have of the host's memory.
        [[nodiscard]] std::uint64_t resident_kib() const;
        [[nodiscard]] bool is_protected() const { return role_ == replication::Role::leading; }
        [[nodiscard]] bool ended() const { return !processes_.front()->running(); }
        ~Guest();
        Guest(const Guest&) = delete;
        Guest& operator=(const Guest&) = delete;

      private:
        friend class Site;
        Guest(Stage& stage, std::string vm, std::optional<GatewayService> gateway)
            : stage_(stage), vm_(std::move(vm)), gateway_(std::move(gateway)) {}
        void handle(const Event& event);  // of the primary
        // From the first to the last report of a time; nothing where there are less than two.
        struct Growth {
            const Event& first;
            const Event& last;
            [[nodiscard]] double seconds() const;
            [[nodiscard]] double of(const char* field) const;
        };
        [[nodiscard]] static std::optional<Growth> growth(const std::vector<Event>& reports, Event::Time from,
                                                          Event::Time to);

        Stage& stage_;
        const std::string vm_;
        std::optional<GatewayService> gateway_;
        std::optional<replication::Role> role_;
        std::string address_;
        LineCutter console_lines_;
        std::vector<std::string> console_;
        std::vector<Event::Time> console_times_;  // of a protected guest
        std::vector<Event> log_;
        std::vector<Event> kept_;  // of the checkpoints' keeper
        std::size_t unsettled_lines_ = 0;
        Stage::Clock::time_point settled_at_ = Stage::Clock::time_point::max();
        std::vector<std::shared_ptr<Child>> processes_;
        std::optional<Relay> far_;  // the primary's address, where the backup is far away
    };
    // A program of programs/ on the small kernel, behind a gateway.
    [[nodiscard]] std::unique_ptr<Guest> start_alone(const std::string& program,
                                                     const std::vector<std::string>& arguments,
                                                     const std::vector<std::string>& options = {});
    [[nodiscard]] std::unique_ptr<Guest> start_protected(const std::string& program,
                                                         const std::vector<std::string>& arguments);

    // Any guest, by what describes it on the command line.
    struct GuestWords {
        std::vector<std::string> machine;         // "--image", ..., "--memory", ...
        std::vector<std::string> arguments;       // behind "--"
        std::array<std::string, 2> networks;      // of primary and backup; empty: none
        std::vector<std::string> backup_options;  // "--image", ...
        std::string ready;  // a line of its console that has this in it says that it serves; empty: none
        // Each way on the logging channel, where it is protected.
        std::chrono::milliseconds channel_delay{0};
    };
    [[nodiscard]] std::unique_ptr<Guest> start_alone(const GuestWords& words,
                                                     const std::vector<std::string>& options = {});
    [[nodiscard]] std::unique_ptr<Guest> start_protected(const GuestWords& words);
    // A guest whose checkpoints a process beside it keeps.
    [[nodiscard]] std::unique_ptr<Guest> start_checkpointed(const GuestWords& words,
                                                            std::chrono::milliseconds interval);

    // Ends a guest as SIGTERM does; what it, and the command that ran it, had to say.
    [[nodiscard]] std::vector<std::string> end(Guest& guest);

    // Waits until the guest's program has ended.
    void await_end(Guest& guest, std::chrono::milliseconds timeout);

    // Where the guest's port 6379 is on this host.
    [[nodiscard]] std::uint16_t guest_port() const { return guest_port_; }
    [[nodiscard]] std::filesystem::path program(const std::string& name) const;
    [[nodiscard]] const std::filesystem::path& executable() const { return executable_; }
    [[nodiscard]] Stage& stage() { return stage_; }

  private:
    [[nodiscard]] std::unique_ptr<Guest> new_guest(std::optional<GatewayService> gateway);
    [[nodiscard]] GatewayService new_gateway();
    [[nodiscard]] GuestWords small_guest(const std::string& name, const std::vector<std::string>& arguments,
                                         const GatewayService& gateway) const;
    [[nodiscard]] std::unique_ptr<Guest> start_alone(std::unique_ptr<Guest> guest, const GuestWords& words,
                                                     const std::vector<std::string>& options);
    [[nodiscard]] std::unique_ptr<Guest> start_protected(std::unique_ptr<Guest> guest, const GuestWords& words);
    [[nodiscard]] std::vector<std::string> command(const std::string& subcommand, const Guest& guest,
                                                   const GuestWords& words,
                                                   const std::vector<std::string>& options) const;
    void await_service(const Guest& guest, const std::string& ready);

    Stage stage_;
    std::filesystem::path executable_;
    Arbiters arbiters_;
    std::uint16_t guest_port_ = 0;
    unsigned guests_ = 0;
};

}  // namespace understudy::tools
