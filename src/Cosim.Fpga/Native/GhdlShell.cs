// SPDX-License-Identifier: Apache-2.0
using System.Globalization;
using System.Text;

namespace Cosim.Fpga.Native;

/// <summary>The VHDL around a design that GHDL runs: the clock, and one call into the link per cycle.</summary>
internal static class GhdlShell
{
    /// <summary>Name of its file.</summary>
    public const string FileName = "cosim_shell.vhd";

    /// <summary>Name of its entity.</summary>
    public const string Entity = "cosim_shell";

    /// <summary>VHDL text; <paramref name="library"/> is put before each foreign name.</summary>
    public static string Text(DesignSources design, string library)
    {
        IEnumerable<string> values = design.Generics.Select(g => $"{g.Name} => {g.Value.ToString(CultureInfo.InvariantCulture)}");
        string generics = design.Generics.Count == 0 ? "" : $"generic map ({string.Join(", ", values)})\n    ";
        StringBuilder signals = new();
        StringBuilder map = new();
        StringBuilder drive = new();
        StringBuilder sample = new();
        for (int n = 0; n < design.Ports; n++)
        {
            int given = 2 + 3 * n;
            int taken = 1 + 2 * n;
            signals.Append(CultureInfo.InvariantCulture, $"""
                  signal p{n}_rx_data, p{n}_tx_data : data_t := (others => '0');
                  signal p{n}_rx_keep, p{n}_tx_keep : keep_t := (others => '0');
                  signal p{n}_rx_last, p{n}_rx_valid, p{n}_rx_ready, p{n}_tx_last, p{n}_tx_valid, p{n}_tx_ready : std_logic := '0';

                """);
            map.Append(CultureInfo.InvariantCulture, $"""
                ,
                      p{n}_rx_data_i => p{n}_rx_data, p{n}_rx_keep_i => p{n}_rx_keep, p{n}_rx_last_i => p{n}_rx_last,
                      p{n}_rx_valid_i => p{n}_rx_valid, p{n}_rx_ready_o => p{n}_rx_ready,
                      p{n}_tx_data_o => p{n}_tx_data, p{n}_tx_keep_o => p{n}_tx_keep, p{n}_tx_last_o => p{n}_tx_last,
                      p{n}_tx_valid_o => p{n}_tx_valid, p{n}_tx_ready_i => p{n}_tx_ready
                """);
            drive.Append(CultureInfo.InvariantCulture, $"""
                      p{n}_rx_valid <= given({given});
                      if given({given + 1}) = '1' then
                        cosim_give({n}, data, flags);
                        p{n}_rx_data <= data;
                        p{n}_rx_keep <= flags(8 downto 1);
                        p{n}_rx_last <= flags(0);
                      end if;
                      p{n}_tx_ready <= given({given + 2});

                """);
            sample.Append(CultureInfo.InvariantCulture, $"""
                      taken({taken}) := p{n}_rx_ready;
                      taken({taken + 1}) := p{n}_tx_valid;
                      if p{n}_tx_valid = '1' and p{n}_tx_ready = '1' then
                        cosim_take({n}, p{n}_tx_data, p{n}_tx_keep, p{n}_tx_last);
                      end if;

                """);
        }

        return $"""
            -- SPDX-License-Identifier: Apache-2.0
            library ieee;
            use ieee.std_logic_1164.all;

            package cosim_link_pkg is
              subtype data_t is std_logic_vector(255 downto 0);
              subtype keep_t is std_logic_vector(7 downto 0);
              subtype flags_t is std_logic_vector(8 downto 0);
              subtype given_t is std_logic_vector(0 to {1 + 3 * design.Ports});
              subtype taken_t is std_logic_vector(0 to {2 * design.Ports});

              procedure cosim_begin(given : out given_t);
              attribute foreign of cosim_begin : procedure is "VHPIDIRECT {library}cosim_begin";
              procedure cosim_cycle(taken : in taken_t; given : out given_t);
              attribute foreign of cosim_cycle : procedure is "VHPIDIRECT {library}cosim_cycle";
              procedure cosim_take(port_number : in integer; data : in data_t; keep : in keep_t; last : in std_logic);
              attribute foreign of cosim_take : procedure is "VHPIDIRECT {library}cosim_take";
              procedure cosim_give(port_number : in integer; data : out data_t; flags : out flags_t);
              attribute foreign of cosim_give : procedure is "VHPIDIRECT {library}cosim_give";
            end package;

            package body cosim_link_pkg is
              procedure cosim_begin(given : out given_t) is
              begin
                assert false report "cosim_begin is foreign" severity failure;
              end procedure;
              procedure cosim_cycle(taken : in taken_t; given : out given_t) is
              begin
                assert false report "cosim_cycle is foreign" severity failure;
              end procedure;
              procedure cosim_take(port_number : in integer; data : in data_t; keep : in keep_t; last : in std_logic) is
              begin
                assert false report "cosim_take is foreign" severity failure;
              end procedure;
              procedure cosim_give(port_number : in integer; data : out data_t; flags : out flags_t) is
              begin
                assert false report "cosim_give is foreign" severity failure;
              end procedure;
            end package body;

            library ieee;
            use ieee.std_logic_1164.all;
            use work.cosim_link_pkg.all;

            entity {Entity} is
            end entity;

            architecture simulation of {Entity} is
              signal clk, rst, busy : std_logic := '0';
            {signals}
            begin
              {design.Top} : entity work.{design.Top}
                {generics}port map (
                  clk_i => clk, rst_i => rst{(design.IdleCycles is null ? ", busy_o => busy" : "")}{map}
                );

              -- 250 MHz; inputs change with the falling edge, outputs are sampled just before the rising one.
              clock : process
                variable given : given_t;
                variable taken : taken_t;
                variable data : data_t;
                variable flags : flags_t;
              begin
                cosim_begin(given);
                while given(1) = '0' loop
                  clk <= '0';
                  rst <= given(0);
            {drive}
                  wait for 2 ns;
                  taken(0) := busy;
            {sample}
                  clk <= '1';
                  wait for 2 ns;
                  cosim_cycle(taken, given);
                end loop;
                std.env.finish(0);
              end process;
            end architecture;

            """;
    }
}
