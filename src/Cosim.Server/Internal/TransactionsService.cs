// SPDX-License-Identifier: Apache-2.0
using Cosim.V1;
using Google.Protobuf;
using Grpc.Core;

namespace Cosim.Server.Internal;

/// <summary>cosim.v1.Transactions.</summary>
internal sealed class TransactionsService(BridgeTable table) : Transactions.TransactionsBase
{
    private const int ConfigSpaceBytes = 4096;
    private const int MostAccessBytes = 4096;
    private const int MostHostMemoryBytes = 1 << 20;
    private const int BarCount = 6;

    // MSI-X table size (PCI Local Bus Specification 3.0, 6.8.2.3).
    private const int MostVectors = 2048;

    public override Task<ReadResponse> ReadConfig(ReadConfigRequest request, ServerCallContext context)
    {
        IBridge bridge = Find(request.Function);
        CheckConfig(request.Offset, request.Length, "length");
        return ReadAsync(() => bridge.ReadConfigAsync(Port(request.Function), Function(request.Function), (int)request.Offset, (int)request.Length));
    }

    public override Task<WriteResponse> WriteConfig(WriteConfigRequest request, ServerCallContext context)
    {
        IBridge bridge = Find(request.Function);
        CheckConfig(request.Offset, (uint)request.Data.Length, "data");
        return WriteAsync(() => bridge.WriteConfigAsync(Port(request.Function), Function(request.Function), (int)request.Offset, request.Data.Memory));
    }

    public override Task<ReadResponse> ReadMemory(ReadMemoryRequest request, ServerCallContext context)
    {
        IBridge bridge = Find(request.Function);
        CheckMemory(request.Bar, request.Length, "length");
        return ReadAsync(
            () => bridge.ReadMemoryAsync(Port(request.Function), Function(request.Function), (int)request.Bar, request.Offset, (int)request.Length));
    }

    public override Task<WriteResponse> WriteMemory(WriteMemoryRequest request, ServerCallContext context)
    {
        IBridge bridge = Find(request.Function);
        CheckMemory(request.Bar, (uint)request.Data.Length, "data");
        return WriteAsync(
            () => bridge.WriteMemoryAsync(Port(request.Function), Function(request.Function), (int)request.Bar, request.Offset, request.Data.Memory));
    }

    public override Task<ReadHostMemoryResponse> ReadHostMemory(ReadHostMemoryRequest request, ServerCallContext context)
    {
        IBridge bridge = table.Find(request.Bridge).Bridge;
        CheckRange("length", request.Length, 0, MostHostMemoryBytes);
        return Errors.TranslateAsync(async () => new ReadHostMemoryResponse
        {
            Data = UnsafeByteOperations.UnsafeWrap(await bridge.ReadHostMemoryAsync(PortNumber(request.Port), request.Address, (int)request.Length)),
        });
    }

    public override Task<WriteHostMemoryResponse> WriteHostMemory(WriteHostMemoryRequest request, ServerCallContext context)
    {
        IBridge bridge = table.Find(request.Bridge).Bridge;
        CheckRange("data", (uint)request.Data.Length, 0, MostHostMemoryBytes);
        return Errors.TranslateAsync(async () =>
        {
            await bridge.WriteHostMemoryAsync(PortNumber(request.Port), request.Address, request.Data.Memory);
            return new WriteHostMemoryResponse();
        });
    }

    public override Task<ArmVectorsResponse> ArmVectors(ArmVectorsRequest request, ServerCallContext context)
    {
        IBridge bridge = Find(request.Function);
        CheckRange("firstVector", request.FirstVector, 0, MostVectors - 1);
        CheckRange("count", request.Count, 1, MostVectors - request.FirstVector);
        return Errors.TranslateAsync(async () =>
        {
            await bridge.ArmVectorsAsync(Port(request.Function), Function(request.Function), (int)request.FirstVector, (int)request.Count);
            return new ArmVectorsResponse();
        });
    }

    public override Task<Interrupt> WaitInterrupt(WaitInterruptRequest request, ServerCallContext context)
    {
        FunctionAddress function = request.Function ?? new FunctionAddress();
        BridgeTable.Entry entry = table.Find(function.Bridge);
        return Errors.TranslateAsync(async () =>
        {
            using CancellationTokenSource stop = CancellationTokenSource.CreateLinkedTokenSource(context.CancellationToken, entry.Ended);
            try
            {
                RaisedInterrupt raised = await entry.Bridge.WaitInterruptAsync(Port(function), Function(function), stop.Token);
                return raised.Vector is { } vector
                    ? new Interrupt { Vector = (uint)vector, Cycle = raised.Cycle }
                    : new Interrupt { Intx = true, Cycle = raised.Cycle };
            }
            catch (OperationCanceledException) when (entry.Ended.IsCancellationRequested)
            {
                throw new ObjectDisposedException(function.Bridge);
            }
        });
    }

    public override async Task WatchTlps(WatchTlpsRequest request, IServerStreamWriter<TlpRecord> responseStream, ServerCallContext context)
    {
        BridgeTable.Entry entry = table.Find(request.Bridge);
        using CancellationTokenSource stop = CancellationTokenSource.CreateLinkedTokenSource(context.CancellationToken, entry.Ended);
        TlpWatch watch = new(request);
        List<IDisposable> observations = [];
        entry.BeginWatch();
        try
        {
            for (int port = 0; port < entry.Bridge.Ports; port++)
            {
                if (watch.WantsPort(port))
                {
                    int number = port;
                    observations.Add(await Errors.TranslateAsync(() => entry.Bridge.ObserveAsync(number, watch.ForPort(number))));
                }
            }

            await context.WriteResponseHeadersAsync([]);
            await foreach (TlpRecord record in watch.ReadAllAsync(stop.Token))
            {
                await responseStream.WriteAsync(record, context.CancellationToken);
            }
        }
        catch (OperationCanceledException) when (entry.Ended.IsCancellationRequested && !context.CancellationToken.IsCancellationRequested)
        {
            // The bridge has ended, and with it the stream.
        }
        finally
        {
            foreach (IDisposable observation in observations)
            {
                observation.Dispose();
            }

            entry.EndWatch();
        }
    }

    private static Task<ReadResponse> ReadAsync(Func<Task<AccessResult>> access) => Errors.TranslateAsync(async () =>
    {
        AccessResult result = await access();
        return new ReadResponse { Status = result.Status, Data = UnsafeByteOperations.UnsafeWrap(result.Data) };
    });

    private static Task<WriteResponse> WriteAsync(Func<Task<AccessResult>> access) => Errors.TranslateAsync(async () =>
        new WriteResponse { Status = (await access()).Status });

    // Beyond int no port or function exists anyway; the bridge says so.
    private static int Port(FunctionAddress function) => PortNumber(function.Port);

    private static int Function(FunctionAddress function) => (int)Math.Min(function.Function, int.MaxValue);

    private static int PortNumber(uint port) => (int)Math.Min(port, int.MaxValue);

    private static void CheckConfig(uint offset, uint length, string field)
    {
        if (length is not (1 or 2 or 4))
        {
            throw Errors.BadRequest(field, $"has {length} bytes; expected 1, 2 or 4");
        }

        if (offset >= ConfigSpaceBytes || (offset & 3) + length > 4)
        {
            throw Errors.BadRequest("offset", $"is 0x{offset:X} for {length} bytes; expected a place below 0x{ConfigSpaceBytes:X} within one double word");
        }
    }

    private static void CheckMemory(uint bar, uint length, string field)
    {
        CheckRange("bar", bar, 0, BarCount - 1);
        CheckRange(field, length, 1, MostAccessBytes);
    }

    private static void CheckRange(string field, uint value, uint least, uint most)
    {
        if (value < least || value > most)
        {
            throw Errors.BadRequest(field, $"is {value}; expected {least} to {most}");
        }
    }

    private IBridge Find(FunctionAddress? function) => function is null
        ? throw Errors.BadRequest("function", "is missing")
        : table.Find(function.Bridge).Bridge;
}
