// SPDX-License-Identifier: Apache-2.0
namespace Cosim.VfioUser.Internal;

/// <summary>An access of the device to the client's memory, made of one DMA_READ or DMA_WRITE or several.</summary>
internal sealed class DmaOperation
{
    internal ulong Token { get; set; }

    internal bool IsRead { get; set; }

    internal DmaRange Range { get; set; }

    internal int Length { get; set; }

    /// <summary>Messages that were not answered.</summary>
    internal int PartsLeft { get; set; }

    /// <summary>Ok, or the first that went wrong.</summary>
    internal DmaResult Result { get; set; }

    /// <summary>Where the parts of a read come together; not used by one that is a single message.</summary>
    internal byte[] Data { get; set; } = [];
}

/// <summary>One DMA_READ or DMA_WRITE that was not answered.</summary>
internal struct DmaMessage
{
    /// <summary>Null once nobody waits for the answer any more.</summary>
    internal DmaOperation? Operation;
    internal VfioUserCommand Command;
    internal ulong Address;
    internal int Offset;
    internal int Count;
    internal long Since;
    internal byte Generation;
    internal bool Active;
}

/// <summary>The DMA messages under way at a client, by message id: the place in the table and, above it, how often that was used.</summary>
internal sealed class DmaMessages
{
    private const int PlaceBits = 12;

    /// <summary>Most messages under way.</summary>
    internal const int Maximum = 1 << PlaceBits;

    private readonly Stack<DmaOperation> _operations = new();
    private readonly Stack<int> _free = new();
    private DmaMessage[] _messages = [];

    /// <summary>Places in use or used before; those beyond are free.</summary>
    internal int Places => _messages.Length;

    /// <summary>Messages whose answer somebody waits for.</summary>
    internal int Waiting { get; private set; }

    /// <summary>Messages that were not answered.</summary>
    internal int Active { get; private set; }

    internal ref DmaMessage this[int place] => ref _messages[place];

    internal DmaOperation Begin(ulong token, bool isRead, DmaRange range, int length, int parts)
    {
        if (!_operations.TryPop(out DmaOperation? operation))
        {
            operation = new DmaOperation();
        }

        operation.Token = token;
        operation.IsRead = isRead;
        operation.Range = range;
        operation.Length = length;
        operation.PartsLeft = parts;
        operation.Result = DmaResult.Ok;
        if (isRead && parts > 1 && operation.Data.Length < length)
        {
            operation.Data = new byte[length];
        }

        return operation;
    }

    internal void End(DmaOperation operation) => _operations.Push(operation);

    /// <summary>Takes a place; there is one while <see cref="Active"/> is below <see cref="Maximum"/>.</summary>
    /// <returns>The message id.</returns>
    internal ushort Add(DmaOperation operation, int offset, int count)
    {
        if (!_free.TryPop(out int place))
        {
            place = _messages.Length;
            Array.Resize(ref _messages, Math.Clamp(place * 2, 64, Maximum));
            for (int index = _messages.Length - 1; index > place; index--)
            {
                _free.Push(index);
            }
        }

        ref DmaMessage message = ref _messages[place];
        message.Operation = operation;
        message.Command = operation.IsRead ? VfioUserCommand.DmaRead : VfioUserCommand.DmaWrite;
        message.Address = operation.Range.First + (uint)offset;
        message.Offset = offset;
        message.Count = count;
        message.Since = Environment.TickCount64;
        message.Active = true;
        Waiting++;
        Active++;
        return (ushort)(place | (message.Generation << PlaceBits));
    }

    /// <summary>Finds what a reply answers.</summary>
    internal bool TryFind(ushort id, VfioUserCommand command, out int place)
    {
        place = id & (Maximum - 1);
        return place < _messages.Length
            && _messages[place].Active
            && _messages[place].Command == command
            && _messages[place].Generation == id >> PlaceBits;
    }

    /// <summary>Nobody waits for the answer any more.</summary>
    internal void Abandon(int place)
    {
        if (_messages[place].Operation is not null)
        {
            _messages[place].Operation = null;
            Waiting--;
        }
    }

    /// <summary>The answer came.</summary>
    internal void Remove(int place)
    {
        Abandon(place);
        ref DmaMessage message = ref _messages[place];
        message.Active = false;
        message.Generation = (byte)((message.Generation + 1) & 0xF);
        Active--;
        _free.Push(place);
    }

    /// <summary>No answer will come: all places are free again.</summary>
    internal void Clear()
    {
        for (int place = 0; place < _messages.Length; place++)
        {
            if (_messages[place].Active)
            {
                Remove(place);
            }
        }
    }
}
